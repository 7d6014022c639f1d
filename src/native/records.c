/* Records of columns, without a call of Python for each. */
#include "maker.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP_MS, KEY, VALUE, HEADERS, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offset", "timestamp_ms", "key", "value", "headers",
};

/* A column as we walk through it: a list or a tuple, or numbers that follow one another. */
typedef struct {
    PyObject *items; /* owned; NULL for numbers */
    PyObject **array;
    long long first;
} Column;

static int
open_column(Column *column, PyObject *given, Py_ssize_t count)
{
    column->items = NULL;
    if (PyRange_Check(given)) {
        PyObject *start = PyObject_GetAttrString(given, "start");
        PyObject *step = PyObject_GetAttrString(given, "step");
        int is_plain = start != NULL && step != NULL && PyLong_AsLong(step) == 1;
        column->first = is_plain ? PyLong_AsLongLong(start) : -1;
        Py_XDECREF(start);
        Py_XDECREF(step);
        if (PyErr_Occurred()) {
            return -1;
        }
        if (is_plain && PyObject_Length(given) == count) {
            return 0;
        }
    }
    column->items = PySequence_Fast(given, "a column is a sequence");
    if (column->items == NULL) {
        return -1;
    }
    if (PySequence_Fast_GET_SIZE(column->items) != count) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length");
        return -1;
    }
    column->array = PySequence_Fast_ITEMS(column->items);
    return 0;
}

/* The entry of a column, owned. */
static inline PyObject *
entry(const Column *column, Py_ssize_t index)
{
    return column->items == NULL ? PyLong_FromLongLong(column->first + index) : Py_NewRef(column->array[index]);
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
    Column columns[FIELD_COUNT] = {{NULL}};
    PyObject *records = NULL;
    Py_ssize_t count;

    if (PyVectorcall_NARGS(flags) != FIELD_COUNT || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a record maker takes seven arguments by position");
        return NULL;
    }
    count = PyObject_Length(arguments[VALUE]);
    if (count < 0) {
        return NULL;
    }
    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        if (open_column(&columns[field], arguments[field], count) < 0) {
            goto done;
        }
    }
    records = PyList_New(count);
    for (Py_ssize_t index = 0; records != NULL && index < count; index++) {
        PyObject *record = make_record(maker, arguments[TOPIC], arguments[PARTITION], columns, index);
        if (record == NULL) {
            Py_CLEAR(records);
            break;
        }
        PyList_SET_ITEM(records, index, record);
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
                     "RecordMaker(record_type)\n--\n\nMakes lists of records: of a topic, a partition and five columns.",
                     record_maker_new);
}
