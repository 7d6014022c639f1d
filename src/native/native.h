/*
 * Shared by all files of eventlog._native.
 *
 * Each accelerator does the same as a Python function of this library, for the usual case. In any other case it leaves
 * the work to Python, before it has changed anything.
 */
#ifndef EVENTLOG_NATIVE_H
#define EVENTLOG_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifdef PYPY_VERSION
#error "the accelerators know how CPython lays out objects: others go on in Python"
#endif
#ifdef Py_GIL_DISABLED
#error "the accelerators need the interpreter lock: without it the library goes on in Python"
#endif

/* The offset of a slot from the start of its object, in bytes; -1 with an error set if the class has no such slot. */
Py_ssize_t native_slot_offset(PyTypeObject *type, const char *name);

/*
 * Declares the slots that an accelerator uses. src/eventlog/accelerators.py compares them with its table, and does not
 * use a module that differs: it was compiled from another source. Of a function it compares the signature.
 */
int native_declare(PyObject *module, const char *name, const char *const *slots, int count);

/* The register of a CRC32C after some more bytes; it begins with all bits set, and its complement is the checksum. */
uint32_t native_checksum(uint32_t rest, const unsigned char *bytes, Py_ssize_t size);

/* The attribute in a slot, borrowed; NULL without an error if the slot is empty. */
static inline PyObject *
native_slot(PyObject *object, Py_ssize_t offset)
{
    return *(PyObject **)((char *)object + offset);
}

/* Whether a column is exactly a list or a tuple. */
static inline int
native_is_column(PyObject *column)
{
    return PyList_CheckExact(column) || PyTuple_CheckExact(column);
}

/* Whether a type is one of plain items: bytes or str. */
static inline int
native_is_plain_type(PyObject *type)
{
    return type == (PyObject *)&PyBytes_Type || type == (PyObject *)&PyUnicode_Type;
}

/* Whether an item is exactly of a type, bytes or str, and holds its bytes or UTF-8 as they are: text must be ASCII. */
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

/*
 * An entry of a list or a tuple, owned; NULL with an error if the list has become shorter.
 *
 * Making an object that the garbage collector tracks may run it, and so any code: a list may change between two
 * entries, and so may the array of its entries.
 */
static inline PyObject *
native_entry(PyObject *column, Py_ssize_t index)
{
    if (index >= PySequence_Fast_GET_SIZE(column)) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length");
        return NULL;
    }
    return Py_NewRef(PySequence_Fast_GET_ITEM(column, index));
}

/* A list to fill. It is tracked when it is full; until then no code that the garbage collector runs can find it. */
static inline PyObject *
native_new_list(Py_ssize_t count)
{
    PyObject *list = PyList_New(count);

    if (list != NULL) {
        PyObject_GC_UnTrack(list);
    }
    return list;
}

/* What an iterator gives: what was yielded, or NULL with an error; StopIteration has what was returned. */
PyObject *native_as_iteration(PySendResult outcome, PyObject *value);

/* Raises what `throw()` was given. */
void native_raise(PyObject *arguments);

uint32_t native_crc32(const unsigned char *bytes, Py_ssize_t size);
uint32_t native_murmur2(const unsigned char *bytes, Py_ssize_t size);

int native_add_batch_maker(PyObject *module);
int native_add_checksums(PyObject *module);
int native_add_columns(PyObject *module);
int native_add_event_maker(PyObject *module);
int native_add_files(PyObject *module);
int native_add_gate(PyObject *module);
int native_add_kafka(PyObject *module);
int native_add_kafka_builder(PyObject *module);
int native_add_keys(PyObject *module);
int native_add_outcome_maker(PyObject *module);
int native_add_readers(PyObject *module);
int native_add_record_maker(PyObject *module);
int native_add_send_method(PyObject *module);
int native_add_stream(PyObject *module);

#endif
