/*
 * What the parts of eventlog._native share.
 *
 * Each function here is a shorter way of something that Python code of this library does, and has the same effect.
 * Where it meets what it does not know, it says so and leaves the work to that code, before it has changed anything.
 */
#ifndef EVENTLOG_NATIVE_H
#define EVENTLOG_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

/* Where a class with __slots__ keeps an attribute, in bytes from the start of the object; -1 with an error set. */
Py_ssize_t native_slot_offset(PyTypeObject *type, const char *name);

/* The attribute in a slot, borrowed; NULL without an error when nothing is in it. */
static inline PyObject *
native_slot(PyObject *object, Py_ssize_t offset)
{
    return *(PyObject **)((char *)object + offset);
}

/* Whether a column is one that we walk through: a list or a tuple, and nothing derived of them. */
static inline int
native_is_column(PyObject *column)
{
    return PyList_CheckExact(column) || PyTuple_CheckExact(column);
}

/* Whether a type is one that plain items have. */
static inline int
native_is_plain_type(PyObject *type)
{
    return type == (PyObject *)&PyBytes_Type || type == (PyObject *)&PyUnicode_Type;
}

/* Whether an item is exactly of a type, bytes or str, and its bytes or its UTF-8 lie in it: text of ASCII alone. */
static inline int
native_is_plain(PyObject *item, PyObject *type)
{
    return (PyObject *)Py_TYPE(item) == type && (!PyUnicode_CheckExact(item) || PyUnicode_IS_ASCII(item));
}

/* The bytes of a plain item. */
static inline const char *
native_bytes(PyObject *item, Py_ssize_t *size)
{
    if (PyBytes_CheckExact(item)) {
        *size = PyBytes_GET_SIZE(item);
        return PyBytes_AS_STRING(item);
    }
    *size = PyUnicode_GET_LENGTH(item);
    return (const char *)PyUnicode_1BYTE_DATA(item);
}

uint32_t native_crc32(const unsigned char *bytes, Py_ssize_t size);
uint32_t native_murmur2(const unsigned char *bytes, Py_ssize_t size);

int native_add_columns(PyObject *module);
int native_add_event_maker(PyObject *module);
int native_add_keys(PyObject *module);
int native_add_record_maker(PyObject *module);
int native_add_send_method(PyObject *module);

#endif
