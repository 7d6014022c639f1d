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

int native_add_columns(PyObject *module);
int native_add_record_maker(PyObject *module);
int native_add_send_method(PyObject *module);

#endif
