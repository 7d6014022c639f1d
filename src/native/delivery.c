/* What awaiting a delivery gives that is done already: an iterator that returns the place of its record at once. */
#include "maker.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP_MS, LOG_POSITION, VERSION, FIELD_COUNT };
enum { RUN_SIZE = 5 };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offset", "timestamp_ms", "log_position", "version",
};

/* -- the iterator ---------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *value; /* NULL once it was returned */
    int is_begun;
} Outcome;

static PySendResult
outcome_send(PyObject *self, PyObject *argument, PyObject **result)
{
    Outcome *outcome = (Outcome *)self;

    *result = NULL;
    if (!outcome->is_begun && argument != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started generator");
        return PYGEN_ERROR;
    }
    outcome->is_begun = 1;
    *result = outcome->value == NULL ? Py_NewRef(Py_None) : outcome->value;
    outcome->value = NULL;
    return PYGEN_RETURN;
}

static PyObject *
outcome_next(PyObject *self)
{
    PyObject *value;
    PySendResult result = outcome_send(self, Py_None, &value);

    return native_as_iteration(result, value);
}

static PyObject *
outcome_send_method(PyObject *self, PyObject *argument)
{
    PyObject *value;
    PySendResult result = outcome_send(self, argument, &value);

    return native_as_iteration(result, value);
}

static PyObject *
outcome_close(PyObject *self, PyObject *Py_UNUSED(arguments))
{
    ((Outcome *)self)->is_begun = 1;
    Py_CLEAR(((Outcome *)self)->value);
    Py_RETURN_NONE;
}

static PyObject *
outcome_throw(PyObject *self, PyObject *arguments)
{
    Py_XDECREF(outcome_close(self, NULL));
    native_raise(arguments);
    return NULL;
}

static void
outcome_dealloc(PyObject *self)
{
    Py_XDECREF(((Outcome *)self)->value);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef outcome_methods[] = {
    {"send", outcome_send_method, METH_O, NULL},
    {"throw", outcome_throw, METH_VARARGS, NULL},
    {"close", outcome_close, METH_NOARGS, NULL},
    {0},
};

static PyAsyncMethods outcome_async = {.am_send = outcome_send};

/* It has no cycles to collect: a place holds texts and numbers. */
static PyTypeObject outcome_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "eventlog._native._Outcome",
    .tp_basicsize = sizeof(Outcome),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = outcome_dealloc,
    .tp_as_async = &outcome_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = outcome_next,
    .tp_methods = outcome_methods,
};

/* -- the maker ------------------------------------------------------------------------------------------------- */

/* A place of a run, owned. */
static PyObject *
make_place(const Maker *maker, PyObject *run, PyObject *index)
{
    PyObject *offset, *log_position, *place = NULL;

    offset = PyNumber_Add(PyTuple_GET_ITEM(run, 2), index);
    log_position = offset == NULL ? NULL : PyNumber_Add(PyTuple_GET_ITEM(run, 4), index);
    if (log_position != NULL) {
        place = maker->made->tp_alloc(maker->made, 0);
    }
    if (place == NULL) {
        Py_XDECREF(offset);
        Py_XDECREF(log_position);
        return NULL;
    }
    maker_put(maker, place, TOPIC, Py_NewRef(PyTuple_GET_ITEM(run, 0)));
    maker_put(maker, place, PARTITION, Py_NewRef(PyTuple_GET_ITEM(run, 1)));
    maker_put(maker, place, OFFSET, offset);
    maker_put(maker, place, TIMESTAMP_MS, Py_NewRef(PyTuple_GET_ITEM(run, 3)));
    maker_put(maker, place, LOG_POSITION, log_position);
    maker_put(maker, place, VERSION, Py_NewRef(Py_None));
    /* Texts and numbers make no circle: the collector need not walk over the places that a program keeps. */
    PyObject_GC_UnTrack(place);
    return place;
}

static PyObject *
make_outcome(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    PyObject *place;
    Outcome *outcome;

    if (PyVectorcall_NARGS(flags) != 2 || names != NULL || !PyTuple_CheckExact(arguments[0]) ||
        PyTuple_GET_SIZE(arguments[0]) != RUN_SIZE || !PyLong_CheckExact(PyTuple_GET_ITEM(arguments[0], 2)) ||
        !PyLong_CheckExact(PyTuple_GET_ITEM(arguments[0], 4)) || !PyLong_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "an outcome maker takes a run of five items, and an index");
        return NULL;
    }
    place = make_place((const Maker *)self, arguments[0], arguments[1]);
    if (place == NULL) {
        return NULL;
    }
    outcome = PyObject_New(Outcome, &outcome_type);
    if (outcome == NULL) {
        Py_DECREF(place);
        return NULL;
    }
    outcome->value = place;
    outcome->is_begun = 0;
    return (PyObject *)outcome;
}

static PyObject *
outcome_maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    return maker_new(type, arguments, keywords, make_outcome, field_names, FIELD_COUNT);
}

int
native_add_outcome_maker(PyObject *module)
{
    if (PyType_Ready(&outcome_type) < 0) {
        return -1;
    }
    return maker_add(module, "eventlog._native.OutcomeMaker",
                     "OutcomeMaker(record_type)\n--\n\nMakes what awaiting a delivery gives that is done.",
                     outcome_maker_new, field_names, FIELD_COUNT);
}
