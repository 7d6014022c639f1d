/* The records of a batch while a permit lasts: one look at the clock for each, without a Python call. */
#include "native.h"
#include <string.h>
#include <time.h>

typedef struct {
    PyObject_HEAD
    PyObject *records;   /* an iterator; NULL once the permit was over */
    PyObject *permit;    /* a list that holds the time until which it lasts */
    PyObject *monotonic; /* a function without arguments; NULL for the clock that time.monotonic() reads */
} Gate;

/* Whether a function is time.monotonic itself; tests have other clocks. */
static int
is_clock_of_the_system(PyObject *function)
{
#ifdef __linux__
    PyObject *module;

    if (!PyCFunction_CheckExact(function) || strcmp(((PyCFunctionObject *)function)->m_ml->ml_name, "monotonic") != 0) {
        return 0;
    }
    module = ((PyCFunctionObject *)function)->m_module;
    return module != NULL && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "time") == 0;
#else
    (void)function;
    return 0;
#endif
}

/* The seconds of the clock; -1.0 with an error set. */
static double
now_s(const Gate *gate)
{
    PyObject *now;
    double seconds;

    if (gate->monotonic == NULL) {
        struct timespec moment;
        if (clock_gettime(CLOCK_MONOTONIC, &moment) != 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1.0;
        }
        return (double)moment.tv_sec + (double)moment.tv_nsec * 1e-9;
    }
    now = PyObject_CallNoArgs(gate->monotonic);
    if (now == NULL) {
        return -1.0;
    }
    seconds = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return seconds;
}

/* Whether the permit lasts; -1 with an error set. */
static int
lasts(const Gate *gate)
{
    double now = now_s(gate);

    if (now == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (PyList_GET_SIZE(gate->permit) != 1 || !PyFloat_CheckExact(PyList_GET_ITEM(gate->permit, 0))) {
        PyErr_SetString(PyExc_TypeError, "a permit is a list of one float");
        return -1;
    }
    return now < PyFloat_AS_DOUBLE(PyList_GET_ITEM(gate->permit, 0));
}

static PyObject *
next_record(PyObject *self)
{
    Gate *gate = (Gate *)self;
    PyObject *record = NULL, *records = gate->records;
    int is_open;

    if (records == NULL) {
        return NULL;
    }
    Py_INCREF(records); /* a clock in Python may do anything, and so may the iterator */
    is_open = lasts(gate);
    if (is_open > 0) {
        record = Py_TYPE(records)->tp_iternext(records);
    }
    else if (is_open == 0) {
        Py_CLEAR(gate->records);
    }
    Py_DECREF(records);
    return record;
}

static PyObject *
gate_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", "", "", NULL};
    PyObject *records, *permit, *monotonic;
    Gate *gate;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO!O", names, &records, &PyList_Type, &permit, &monotonic)) {
        return NULL;
    }
    if (!PyIter_Check(records)) {
        PyErr_SetString(PyExc_TypeError, "records are an iterator");
        return NULL;
    }
    gate = (Gate *)type->tp_alloc(type, 0);
    if (gate != NULL) {
        gate->records = Py_NewRef(records);
        gate->permit = Py_NewRef(permit);
        gate->monotonic = is_clock_of_the_system(monotonic) ? NULL : Py_NewRef(monotonic);
    }
    return (PyObject *)gate;
}

static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Gate *)self)->records);
    Py_VISIT(((Gate *)self)->permit);
    Py_VISIT(((Gate *)self)->monotonic);
    return 0;
}

/* What remains is what a gate needs that is asked for a record: it has ended. */
static int
clear(PyObject *self)
{
    Py_CLEAR(((Gate *)self)->records);
    return 0;
}

static void
dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Gate *)self)->records);
    Py_XDECREF(((Gate *)self)->permit);
    Py_XDECREF(((Gate *)self)->monotonic);
    type->tp_free(self);
    Py_DECREF(type);
}

int
native_add_gate(PyObject *module)
{
    static const char *const names[] = {"records", "permit", "monotonic"};
    PyType_Slot slots[] = {
        {Py_tp_doc, "RecordGate(records, permit, monotonic, /)\n--\n\nThe records while a permit lasts."},
        {Py_tp_new, gate_new},
        {Py_tp_iter, PyObject_SelfIter},
        {Py_tp_iternext, next_record},
        {Py_tp_traverse, traverse},
        {Py_tp_clear, clear},
        {Py_tp_dealloc, dealloc},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "eventlog._native.RecordGate",
        .basicsize = sizeof(Gate),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return result < 0 ? result : native_declare(module, "RecordGate", names, 3);
}
