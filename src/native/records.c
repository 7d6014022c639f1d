/* The records of some columns, without a Python call for each. */
#include "maker.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP_MS, KEY, VALUE, HEADERS, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offset", "timestamp_ms", "key", "value", "headers",
};

/* A column to walk through: a list or a tuple, or consecutive numbers. */
typedef struct {
    PyObject *items; /* owned; NULL for numbers */
    long long first;
} Column;

/* Whether a range has consecutive numbers that fit into a long long; -1 with an error set. */
static int
is_plain_range(PyObject *range, Py_ssize_t count, long long *first)
{
    PyObject *start = PyObject_GetAttrString(range, "start");
    PyObject *step = PyObject_GetAttrString(range, "step");
    int start_overflows = 0, step_overflows = 0, is_plain = -1;

    if (start != NULL && step != NULL) {
        long long stride = PyLong_AsLongLongAndOverflow(step, &step_overflows);
        *first = PyLong_AsLongLongAndOverflow(start, &start_overflows);
        is_plain = !start_overflows && !step_overflows && stride == 1 && *first <= LLONG_MAX - count;
    }
    Py_XDECREF(start);
    Py_XDECREF(step);
    return is_plain;
}

static int
open_column(Column *column, PyObject *given, Py_ssize_t count)
{
    int is_plain = PyRange_Check(given) ? is_plain_range(given, count, &column->first) : 0;

    if (is_plain == 0) {
        column->items = PySequence_Fast(given, "a column is a sequence");
    }
    return is_plain > 0 || column->items != NULL ? 0 : -1;
}

/* The entry of a column, owned. */
static inline PyObject *
entry(const Column *column, Py_ssize_t index)
{
    return column->items == NULL ? PyLong_FromLongLong(column->first + index) : native_entry(column->items, index);
}

/* The common length of all columns; -1 with an error set. */
static Py_ssize_t
length_of(PyObject *const *arguments)
{
    Py_ssize_t count = -1;
    int is_one = 1;

    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        Py_ssize_t length = PyObject_Length(arguments[field]);
        if (length < 0) {
            return -1;
        }
        is_one = is_one && (field == OFFSET || length == count);
        count = length;
    }
    if (!is_one) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length");
        return -1;
    }
    return count;
}

static PyObject *
make_record(const Maker *maker, PyObject *topic, PyObject *partition, const Column *columns, Py_ssize_t index)
{
    PyObject *record = maker->made->tp_alloc(maker->made, 0);

    if (record == NULL) {
        return NULL;
    }
    maker_put(maker, record, TOPIC, Py_NewRef(topic));
    maker_put(maker, record, PARTITION, Py_NewRef(partition));
    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        PyObject *value = entry(&columns[field], index);
        if (value == NULL) {
            Py_DECREF(record);
            return NULL;
        }
        maker_put(maker, record, field, value);
    }
    return record;
}

static PyObject *
make_records(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    const Maker *maker = (const Maker *)self;
    Column columns[FIELD_COUNT] = {{0}};
    PyObject *records = NULL;
    Py_ssize_t count;

    if (PyVectorcall_NARGS(flags) != FIELD_COUNT || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a record maker takes seven arguments by position");
        return NULL;
    }
    count = length_of(arguments);
    if (count < 0) {
        return NULL;
    }
    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        if (open_column(&columns[field], arguments[field], count) < 0) {
            goto done;
        }
    }
    records = native_new_list(count);
    for (Py_ssize_t index = 0; records != NULL && index < count; index++) {
        PyObject *record = make_record(maker, arguments[TOPIC], arguments[PARTITION], columns, index);
        if (record == NULL) {
            Py_CLEAR(records);
            break;
        }
        PyList_SET_ITEM(records, index, record);
    }
    if (records != NULL) {
        PyObject_GC_Track(records);
    }
done:
    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        Py_XDECREF(columns[field].items);
    }
    return records;
}

static PyObject *
record_maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    return maker_new(type, arguments, keywords, make_records, field_names, FIELD_COUNT);
}

int
native_add_record_maker(PyObject *module)
{
    return maker_add(module, "eventlog._native.RecordMaker",
                     "RecordMaker(record_type)\n--\n\n"
                     "Makes lists of records: of a topic, a partition and five columns.",
                     record_maker_new, field_names, FIELD_COUNT);
}
