/* Records of columns, without a call of Python for each. */
#include "native.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP_MS, KEY, VALUE, HEADERS, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offset", "timestamp_ms", "key", "value", "headers",
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyTypeObject *record_type;
    Py_ssize_t offsets[FIELD_COUNT];
} RecordMaker;

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
make_record(const RecordMaker *maker, PyObject *topic, PyObject *partition, const Column *columns, Py_ssize_t index)
{
    PyObject *record = maker->record_type->tp_alloc(maker->record_type, 0);

    if (record == NULL) {
        return NULL;
    }
    *(PyObject **)((char *)record + maker->offsets[TOPIC]) = Py_NewRef(topic);
    *(PyObject **)((char *)record + maker->offsets[PARTITION]) = Py_NewRef(partition);
    for (int field = OFFSET; field < FIELD_COUNT; field++) {
        PyObject *value = entry(&columns[field], index);
        if (value == NULL) {
            Py_DECREF(record);
            return NULL;
        }
        *(PyObject **)((char *)record + maker->offsets[field]) = value;
    }
    return record;
}

static PyObject *
make_records(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    RecordMaker *maker = (RecordMaker *)self;
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
    static char *names[] = {"record_type", NULL};
    PyObject *record_type;
    RecordMaker *maker;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!:RecordMaker", names, &PyType_Type, &record_type)) {
        return NULL;
    }
    maker = (RecordMaker *)type->tp_alloc(type, 0);
    if (maker == NULL) {
        return NULL;
    }
    maker->call = make_records;
    maker->record_type = (PyTypeObject *)Py_NewRef(record_type);
    for (int field = 0; field < FIELD_COUNT; field++) {
        maker->offsets[field] = native_slot_offset(maker->record_type, field_names[field]);
        if (maker->offsets[field] < 0) {
            Py_DECREF(maker);
            return NULL;
        }
    }
    return (PyObject *)maker;
}

static int
record_maker_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((RecordMaker *)self)->record_type);
    return 0;
}

static int
record_maker_clear(PyObject *self)
{
    Py_CLEAR(((RecordMaker *)self)->record_type);
    return 0;
}

static void
record_maker_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)record_maker_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef record_maker_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(RecordMaker, call), READONLY, NULL},
    {NULL},
};

static PyType_Slot record_maker_slots[] = {
    {Py_tp_doc, "RecordMaker(record_type)\n--\n\nMakes lists of records: of a topic, a partition and five columns."},
    {Py_tp_new, record_maker_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, record_maker_traverse},
    {Py_tp_clear, record_maker_clear},
    {Py_tp_dealloc, record_maker_dealloc},
    {Py_tp_members, record_maker_members},
    {0, NULL},
};

static PyType_Spec record_maker_spec = {
    .name = "eventlog._native.RecordMaker",
    .basicsize = sizeof(RecordMaker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = record_maker_slots,
};

int
native_add_record_maker(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &record_maker_spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return result;
}
