/* Makers allocate objects with __slots__ and fill them without a call of __init__. */
#ifndef EVENTLOG_MAKER_H
#define EVENTLOG_MAKER_H

#include "native.h"

enum { MOST_FIELDS = 9 };

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyTypeObject *made;
    Py_ssize_t offsets[MOST_FIELDS];
} Maker;

/* A maker of the type that is the only argument; the type must have a slot for each name. */
PyObject *maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords, vectorcallfunc call,
                    const char *const *names, int count);

/* Adds a type of makers to a module, and declares its slots. */
int maker_add(PyObject *module, const char *name, const char *doc, newfunc new, const char *const *slots, int count);

/* Puts a value, owned, into a slot of a new object. */
static inline void
maker_put(const Maker *maker, PyObject *object, int field, PyObject *value)
{
    *(PyObject **)((char *)object + maker->offsets[field]) = value;
}

#endif
