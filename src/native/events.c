/* The events of a row of the index; docs/reference/format.md has the row. */
#include "maker.h"
#include "reading.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP_MS, KEY, VALUE, HEADERS, VERSION, LOG_POSITION, FIELD_COUNT };
enum { ARGUMENT_COUNT = 7, ENTRY_COUNT = 6 };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offset", "timestamp_ms", "key", "value", "headers", "version", "log_position",
};

/* Whether a number is within the bounds of a partition, an offset and a position; others are left to Python. */
static int
is_place(PyObject *number)
{
    int overflows;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflows);

    return overflows == 0 && value >= 0 && value < LLONG_MAX;
}

/* The event of an entry; NULL without an error if it was deleted, has headers or wrong numbers, or no value here. */
static PyObject *
take_event(const Maker *maker, Input *input, PyObject *topic, PyObject *key, PyObject *type, long long version)
{
    static const int order[] = {PARTITION, OFFSET, TIMESTAMP_MS, LOG_POSITION};
    PyObject *event, *value;

    if (take_array(input) != ENTRY_COUNT) {
        return NULL;
    }
    event = maker->made->tp_alloc(maker->made, 0);
    if (event == NULL) {
        return NULL;
    }
    for (size_t index = 0; index < Py_ARRAY_LENGTH(order); index++) {
        value = take_integer(input);
        if (value == NULL) {
            goto unknown;
        }
        maker_put(maker, event, order[index], value);
        if (order[index] != TIMESTAMP_MS && !is_place(value)) {
            goto unknown;
        }
    }
    value = take_item(input, type);
    if (value == NULL) {
        goto unknown;
    }
    maker_put(maker, event, VALUE, value);
    if (take_number(input, 1) != FIX_ARRAY) { /* the headers, which must be empty */
        goto unknown;
    }
    value = PyTuple_New(0);
    if (value == NULL) {
        goto unknown;
    }
    maker_put(maker, event, HEADERS, value);
    value = PyLong_FromLongLong(version);
    if (value == NULL) {
        goto unknown;
    }
    maker_put(maker, event, VERSION, value);
    maker_put(maker, event, TOPIC, Py_NewRef(topic));
    maker_put(maker, event, KEY, Py_NewRef(key));
    return event;
unknown:
    Py_DECREF(event);
    return NULL;
}

static PyObject *
make_events(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    const Maker *maker = (const Maker *)self;
    PyObject *events;
    Py_ssize_t start, stop, size;
    int overflows;
    long long version;
    int64_t count;
    Input input;

    if (PyVectorcall_NARGS(flags) != ARGUMENT_COUNT || names != NULL || !PyBytes_Check(arguments[0]) ||
        !native_is_plain_type(arguments[6])) {
        PyErr_SetString(PyExc_TypeError, "an event maker takes bytes, start, stop, topic, key, version and a type");
        return NULL;
    }
    start = PyLong_AsSsize_t(arguments[1]);
    stop = PyLong_AsSsize_t(arguments[2]);
    version = PyLong_AsLongLongAndOverflow(arguments[5], &overflows);
    if (PyErr_Occurred()) {
        return NULL;
    }
    size = PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || stop < start || stop > size) {
        PyErr_SetString(PyExc_ValueError, "an event maker was given no part of the data");
        return NULL;
    }
    input.at = (const unsigned char *)PyBytes_AS_STRING(arguments[0]) + start;
    input.end = input.at + stop - start;
    count = take_array(&input);
    /* Each entry takes at least a byte: a wrong count costs no memory. */
    if (count < 0 || count > input.end - input.at || overflows || version > LLONG_MAX - count) {
        Py_RETURN_NONE;
    }
    events = native_new_list((Py_ssize_t)count);
    for (int64_t index = 0; events != NULL && index < count; index++) {
        PyObject *event = take_event(maker, &input, arguments[3], arguments[4], arguments[6], version + index);
        if (event == NULL) {
            Py_CLEAR(events);
            break;
        }
        PyList_SET_ITEM(events, (Py_ssize_t)index, event);
    }
    if (events != NULL && input.at != input.end) {
        Py_CLEAR(events);
    }
    if (events != NULL) {
        PyObject_GC_Track(events);
    }
    if (events == NULL && !PyErr_Occurred()) {
        Py_RETURN_NONE;
    }
    return events;
}

static PyObject *
event_maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    return maker_new(type, arguments, keywords, make_events, field_names, FIELD_COUNT);
}

int
native_add_event_maker(PyObject *module)
{
    return maker_add(module, "eventlog._native.EventMaker",
                     "EventMaker(record_type)\n--\n\n"
                     "Makes lists of events: of a row's bytes from start to stop, a topic, a key, the first version "
                     "and the type of values.\n\nNone if an entry is not a whole record without headers.",
                     event_maker_new, field_names, FIELD_COUNT);
}
