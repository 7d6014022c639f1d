/*
 * A Kafka record batch of magic 2 (https://kafka.apache.org/documentation/#recordbatch) made of columns, with its
 * header and its checksum; kafka.c reads the records.
 *
 * No Python code runs while the columns are in use: only bytes are made. So what was seen in the first pass, which
 * finds the sizes, is there in the second, which writes.
 */
#include "native.h"

#include <string.h>

enum { HEAD_BYTES = 61, LENGTH_END = 12, CHECKED_FROM = 21, CHECKSUM_AT = 17, MAGIC = 2, MOST_VARINT_BYTES = 10 };

static inline unsigned char *
put_number(unsigned char *to, int64_t number, int width)
{
    for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
        *to++ = (unsigned char)((uint64_t)number >> shift);
    }
    return to;
}

static inline uint64_t
zigzag(int64_t number)
{
    return (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
}

static inline Py_ssize_t
varint_size(int64_t number)
{
    uint64_t bits = zigzag(number);
    Py_ssize_t size = 1;

    while (bits >= 0x80) {
        bits >>= 7;
        size++;
    }
    return size;
}

static inline unsigned char *
put_varint(unsigned char *to, int64_t number)
{
    uint64_t bits = zigzag(number);

    while (bits >= 0x80) {
        *to++ = (unsigned char)(bits | 0x80);
        bits >>= 7;
    }
    *to++ = (unsigned char)bits;
    return to;
}

static inline unsigned char *
put_bytes(unsigned char *to, const char *bytes, Py_ssize_t size)
{
    to = put_varint(to, size);
    memcpy(to, bytes, (size_t)size);
    return to + size;
}

static inline unsigned char *
put_item(unsigned char *to, PyObject *entry)
{
    return entry == Py_None ? put_varint(to, -1) : put_bytes(to, PyBytes_AS_STRING(entry), PyBytes_GET_SIZE(entry));
}

/* The size of bytes or None with their length; -1 with an error for anything else. */
static inline Py_ssize_t
item_size(PyObject *entry)
{
    if (entry == Py_None) {
        return 1;
    }
    if (!PyBytes_CheckExact(entry)) {
        PyErr_SetString(PyExc_TypeError, "keys, values and headers of a Kafka record batch are bytes or None");
        return -1;
    }
    return varint_size(PyBytes_GET_SIZE(entry)) + PyBytes_GET_SIZE(entry);
}

/* Name and value of a header, borrowed; 0 with an error if it is no pair of a text and an item. */
static inline int
header_parts(PyObject *pair, const char **name, Py_ssize_t *name_size, PyObject **value)
{
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2 || !PyUnicode_CheckExact(PyTuple_GET_ITEM(pair, 0))) {
        PyErr_SetString(PyExc_TypeError, "a header of a Kafka record batch is a pair of a text and bytes or None");
        return 0;
    }
    *name = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(pair, 0), name_size);
    *value = PyTuple_GET_ITEM(pair, 1);
    return *name != NULL;
}

/* The size of the headers of a record with their number; -1 with an error. */
static Py_ssize_t
headers_size(PyObject *headers)
{
    Py_ssize_t size, count;

    if (!PyTuple_CheckExact(headers)) {
        PyErr_SetString(PyExc_TypeError, "the headers of a record are a tuple");
        return -1;
    }
    count = PyTuple_GET_SIZE(headers);
    size = varint_size(count);
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_ssize_t name_size, value_size;
        const char *name;
        PyObject *value;

        if (!header_parts(PyTuple_GET_ITEM(headers, index), &name, &name_size, &value) ||
            (value_size = item_size(value)) < 0) {
            return -1;
        }
        size += varint_size(name_size) + name_size + value_size;
    }
    return size;
}

static unsigned char *
put_headers(unsigned char *to, PyObject *headers)
{
    to = put_varint(to, PyTuple_GET_SIZE(headers));
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(headers); index++) {
        Py_ssize_t name_size = 0;
        const char *name = NULL;
        PyObject *value = Py_None;

        (void)header_parts(PyTuple_GET_ITEM(headers, index), &name, &name_size, &value); /* it has succeeded before */
        to = put_item(put_bytes(to, name, name_size), value);
    }
    return to;
}

/* The entry of a column of numbers; the number itself if it is no column. */
static inline int
number_of(PyObject *column, Py_ssize_t index, int64_t *number)
{
    PyObject *entry = native_is_column(column) ? PySequence_Fast_GET_ITEM(column, index) : column;

    if (!PyLong_CheckExact(entry)) {
        PyErr_SetString(PyExc_TypeError, "times and offsets of a Kafka record batch are whole numbers");
        return 0;
    }
    *number = PyLong_AsLongLong(entry);
    return *number != -1 || !PyErr_Occurred();
}

/* The columns of a batch, and what its header says. */
typedef struct {
    PyObject *keys, *values, *headers, *times, *deltas;
    Py_ssize_t count;
    int64_t span, base_offset, base_ms, largest_ms;
} Columns;

/* The numbers of a record, and its size without its length; -1 with an error. */
static inline Py_ssize_t
record_size(const Columns *columns, Py_ssize_t index, int64_t *moment, int64_t *delta)
{
    Py_ssize_t key_size, value_size, size;

    *delta = index;
    if (!number_of(columns->times, index, moment) ||
        (columns->deltas != Py_None && !number_of(columns->deltas, index, delta)) ||
        (key_size = item_size(PySequence_Fast_GET_ITEM(columns->keys, index))) < 0 ||
        (value_size = item_size(PySequence_Fast_GET_ITEM(columns->values, index))) < 0 ||
        (size = headers_size(PySequence_Fast_GET_ITEM(columns->headers, index))) < 0) {
        return -1;
    }
    return 1 + varint_size((int64_t)((uint64_t)*moment - (uint64_t)columns->base_ms)) + varint_size(*delta) +
           key_size + value_size + size;
}

static int
read_columns(PyObject *const *arguments, Columns *columns)
{
    columns->keys = arguments[0];
    columns->values = arguments[1];
    columns->headers = arguments[2];
    columns->times = arguments[3];
    columns->deltas = arguments[4];
    columns->span = PyLong_AsLongLong(arguments[5]);
    columns->base_offset = PyLong_AsLongLong(arguments[6]);
    if (PyErr_Occurred()) {
        return 0;
    }
    if (!native_is_column(columns->keys) || !native_is_column(columns->values) ||
        !native_is_column(columns->headers) || (columns->deltas != Py_None && !native_is_column(columns->deltas))) {
        PyErr_SetString(PyExc_TypeError, "the columns of a Kafka record batch are lists or tuples");
        return 0;
    }
    columns->count = PySequence_Fast_GET_SIZE(columns->values);
    if (columns->count < 1 || columns->count > columns->span || columns->span > INT32_MAX ||
        PySequence_Fast_GET_SIZE(columns->keys) != columns->count ||
        PySequence_Fast_GET_SIZE(columns->headers) != columns->count ||
        (native_is_column(columns->times) && PySequence_Fast_GET_SIZE(columns->times) != columns->count) ||
        (columns->deltas != Py_None && PySequence_Fast_GET_SIZE(columns->deltas) != columns->count)) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length, or are none, or more than their offsets");
        return 0;
    }
    return number_of(columns->times, 0, &columns->base_ms);
}

PyDoc_STRVAR(build_record_batch_doc,
             "build_record_batch(keys, values, headers, timestamps_ms, deltas, span, base_offset)\n--\n\n"
             "Return the Kafka record batch of some columns, of magic 2 and with its checksum.");

static PyObject *
build_record_batch(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    Py_ssize_t total = HEAD_BYTES;
    int64_t moment, delta;
    unsigned char *data, *to;
    PyObject *batch;
    Columns columns;

    if (argument_count != 7) {
        PyErr_SetString(PyExc_TypeError, "build_record_batch() takes five columns and two numbers");
        return NULL;
    }
    if (!read_columns(arguments, &columns)) {
        return NULL;
    }
    columns.largest_ms = columns.base_ms;
    for (Py_ssize_t index = 0; index < columns.count; index++) {
        Py_ssize_t size = record_size(&columns, index, &moment, &delta);
        if (size < 0) {
            return NULL;
        }
        columns.largest_ms = moment > columns.largest_ms ? moment : columns.largest_ms;
        if (size > INT32_MAX - total - MOST_VARINT_BYTES) {
            PyErr_SetString(PyExc_OverflowError, "a Kafka record batch has less than 2 GiB");
            return NULL;
        }
        total += varint_size(size) + size;
    }
    batch = PyBytes_FromStringAndSize(NULL, total);
    if (batch == NULL) {
        return NULL;
    }
    data = (unsigned char *)PyBytes_AS_STRING(batch);
    to = put_number(data, columns.base_offset, 8);
    to = put_number(to, total - LENGTH_END, 4);
    to = put_number(to, 0, 4); /* the leader epoch */
    to = put_number(to, MAGIC, 1);
    to = put_number(to, 0, 4); /* the checksum comes last */
    to = put_number(to, 0, 2); /* attributes */
    to = put_number(to, columns.span - 1, 4);
    to = put_number(to, columns.base_ms, 8);
    to = put_number(to, columns.largest_ms, 8);
    to = put_number(to, -1, 8); /* no producer: id, epoch, sequence */
    to = put_number(to, -1, 2);
    to = put_number(to, -1, 4);
    to = put_number(to, columns.count, 4);
    for (Py_ssize_t index = 0; index < columns.count; index++) {
        Py_ssize_t size = record_size(&columns, index, &moment, &delta);
        to = put_varint(to, size);
        *to++ = 0; /* attributes */
        to = put_varint(to, (int64_t)((uint64_t)moment - (uint64_t)columns.base_ms));
        to = put_varint(to, delta);
        to = put_item(to, PySequence_Fast_GET_ITEM(columns.keys, index));
        to = put_item(to, PySequence_Fast_GET_ITEM(columns.values, index));
        to = put_headers(to, PySequence_Fast_GET_ITEM(columns.headers, index));
    }
    put_number(data + CHECKSUM_AT, ~native_checksum(0xffffffff, data + CHECKED_FROM, total - CHECKED_FROM), 4);
    return batch;
}

static PyMethodDef functions[] = {
    {"build_record_batch", (PyCFunction)(void (*)(void))build_record_batch, METH_FASTCALL, build_record_batch_doc},
    {0},
};

int
native_add_kafka_builder(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
