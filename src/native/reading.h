/*
 * Reads MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) piece by piece. Each function expects one
 * type; for anything else it returns NULL or -1 without an error, and the caller leaves the data to Python.
 */
#ifndef EVENTLOG_READING_H
#define EVENTLOG_READING_H

#include "native.h"

enum {
    FIX_ARRAY = 0x90,
    NIL = 0xc0,
    BIN_8 = 0xc4,
    BIN_16 = 0xc5,
    BIN_32 = 0xc6,
    UINT_8 = 0xcc,
    UINT_64 = 0xcf,
    INT_8 = 0xd0,
    INT_64 = 0xd3,
    ARRAY_16 = 0xdc,
    ARRAY_32 = 0xdd,
    LEAST_FIX_INT = 0xe0,
};

/* The data left to read. */
typedef struct {
    const unsigned char *at;
    const unsigned char *end;
} Input;

/* A number of one to four bytes; -1 if the data ends before. */
static inline int64_t
take_number(Input *input, int width)
{
    int64_t number = 0;

    if (input->end - input->at < width) {
        return -1;
    }
    while (width-- > 0) {
        number = number << 8 | *input->at++;
    }
    return number;
}

/* The number of items of an array; -1 if there is no array. */
static inline int64_t
take_array(Input *input)
{
    int64_t kind = take_number(input, 1);

    if (kind >= FIX_ARRAY && kind < FIX_ARRAY + 16) {
        return kind - FIX_ARRAY;
    }
    return kind == ARRAY_16 ? take_number(input, 2) : kind == ARRAY_32 ? take_number(input, 4) : -1;
}

/* A whole number, owned. */
static inline PyObject *
take_integer(Input *input)
{
    int64_t kind = take_number(input, 1);
    uint64_t number = 0;
    int width;

    if (kind < 0) {
        return NULL;
    }
    if (kind < 0x80 || kind >= LEAST_FIX_INT) {
        return PyLong_FromLong((signed char)kind);
    }
    if (kind < UINT_8 || kind > INT_64) {
        return NULL;
    }
    width = 1 << (kind & 3);
    if (input->end - input->at < width) {
        return NULL;
    }
    for (int index = 0; index < width; index++) {
        number = number << 8 | *input->at++;
    }
    if (kind <= UINT_64) {
        return PyLong_FromUnsignedLongLong(number);
    }
    /* The sign bit is the highest of its own width. */
    return PyLong_FromLongLong((int64_t)(number << (64 - 8 * width)) >> (64 - 8 * width));
}

/* Bytes, text or None, owned; text that is not UTF-8 counts as anything else. It sets an error if memory runs out. */
static inline PyObject *
take_item(Input *input, PyObject *type)
{
    int64_t kind = take_number(input, 1);
    int64_t size;
    const char *bytes;
    PyObject *text;

    if (kind == NIL) {
        return Py_NewRef(Py_None);
    }
    size = kind == BIN_8 ? take_number(input, 1)
         : kind == BIN_16 ? take_number(input, 2)
         : kind == BIN_32 ? take_number(input, 4)
                          : -1;
    if (size < 0 || input->end - input->at < size) {
        return NULL;
    }
    bytes = (const char *)input->at;
    input->at += size;
    if (type == (PyObject *)&PyBytes_Type) {
        return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    }
    text = PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
    }
    return text;
}

/*
 * The keys and the values of a body with `count` entries: two tuples, owned, or None for keys if no record has one.
 * 0 if the body has anything else, with an error if memory ran out.
 */
int native_take_columns(Input input, Py_ssize_t count, PyObject *const *types, PyObject **keys, PyObject **values);

#endif
