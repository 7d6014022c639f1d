/*
 * The records of a Kafka record batch of magic 2 (https://kafka.apache.org/documentation/#recordbatch), read as columns
 * or looked through; kafka_builder.c writes them.
 *
 * A record is its length, attributes, and then numbers of variable length: time and offset less those of the batch, and
 * lengths of key, value and headers, -1 for none. Whatever is not as it should be is left to Python, which says why.
 */
#include "native.h"

enum { LEAST_RECORD_BYTES = 7 };

typedef struct {
    const unsigned char *at;
    const unsigned char *end;
} Input;

/* A number with a sign; 0 if it does not end before the data does, or has more than 64 bits. */
static inline int
take_varint(Input *input, int64_t *number)
{
    uint64_t bits = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        unsigned char byte;
        if (input->at >= input->end) {
            return 0;
        }
        byte = *input->at++;
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return shift < 63 || byte <= 1;
        }
    }
    return 0;
}

/* Bytes with their length before them; a length of -1 is a NULL. 0 if they are not all there. */
static inline int
take_bytes(Input *input, const char **bytes, int64_t *size)
{
    if (!take_varint(input, size) || *size < -1 || *size > input->end - input->at) {
        return 0;
    }
    *bytes = *size < 0 ? NULL : (const char *)input->at;
    input->at += *size < 0 ? 0 : *size;
    return 1;
}

typedef struct {
    int64_t time;
    int64_t delta;
    const char *key;
    int64_t key_size;
    const char *value;
    int64_t value_size;
    int64_t header_count;
    Input rest; /* from the first header to the end of the record */
} Record;

/* A record up to its headers. */
static inline int
take_record(Input *input, Record *record)
{
    int64_t length;
    Input inner;

    if (!take_varint(input, &length) || length < 1 || length > input->end - input->at) {
        return 0;
    }
    inner.at = input->at + 1; /* the attributes of a record say nothing */
    inner.end = input->at + length;
    input->at = inner.end;
    if (!take_varint(&inner, &record->time) || !take_varint(&inner, &record->delta) ||
        !take_bytes(&inner, &record->key, &record->key_size) ||
        !take_bytes(&inner, &record->value, &record->value_size) || !take_varint(&inner, &record->header_count) ||
        record->header_count < 0 || record->header_count > (inner.end - inner.at) / 2) {
        return 0;
    }
    record->rest = inner;
    return record->header_count > 0 || inner.at == inner.end;
}

/* Whether the headers of a record fill it. */
static inline int
skip_headers(Record *record)
{
    const char *bytes;
    int64_t size;

    for (int64_t index = 0; index < record->header_count; index++) {
        if (!take_bytes(&record->rest, &bytes, &size) || bytes == NULL || !take_bytes(&record->rest, &bytes, &size)) {
            return 0;
        }
    }
    return record->rest.at == record->rest.end;
}

/* Bytes or None, owned. */
static inline PyObject *
item(const char *bytes, int64_t size)
{
    return bytes == NULL ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

/* The headers of a record, owned; NULL without an error if they are not as they should be. */
static PyObject *
headers_of(Record *record)
{
    PyObject *headers = PyTuple_New((Py_ssize_t)record->header_count);

    for (Py_ssize_t index = 0; headers != NULL && index < record->header_count; index++) {
        const char *name, *bytes;
        int64_t name_size, size;
        PyObject *text = NULL, *value = NULL, *pair = NULL;

        if (take_bytes(&record->rest, &name, &name_size) && name != NULL && take_bytes(&record->rest, &bytes, &size)) {
            text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)name_size, "replace");
            value = text == NULL ? NULL : item(bytes, size);
            pair = value == NULL ? NULL : PyTuple_Pack(2, text, value);
        }
        Py_XDECREF(text);
        Py_XDECREF(value);
        if (pair == NULL) {
            Py_CLEAR(headers);
            break;
        }
        PyTuple_SET_ITEM(headers, index, pair);
    }
    if (headers != NULL && record->rest.at != record->rest.end) {
        Py_CLEAR(headers);
    }
    return headers;
}

/* The time of a record; 0 if the sum has more than 64 bits. */
static inline int
time_of(int64_t base, int64_t delta, int64_t *time)
{
    return !__builtin_add_overflow(base, delta, time);
}

/* The arguments of the two readers: the data, where the records begin and end, and the numbers of the header. */
typedef struct {
    Input input;
    Py_ssize_t count;
    int64_t last_delta;
    int64_t base_ms;
} Batch;

/* 1 if records may be there, 0 if the numbers tell that they are not; -1 with an error. */
static int
read_arguments(PyObject *const *arguments, Batch *batch)
{
    Py_ssize_t start, stop;
    const unsigned char *bytes;

    if (!PyBytes_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "the records of a Kafka record batch are in bytes");
        return -1;
    }
    start = PyLong_AsSsize_t(arguments[1]);
    stop = PyLong_AsSsize_t(arguments[2]);
    batch->count = PyLong_AsSsize_t(arguments[3]);
    batch->last_delta = PyLong_AsLongLong(arguments[4]);
    batch->base_ms = PyLong_AsLongLong(arguments[5]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (start < 0 || stop < start || stop > PyBytes_GET_SIZE(arguments[0])) {
        PyErr_SetString(PyExc_ValueError, "there is no such part of the data");
        return -1;
    }
    bytes = (const unsigned char *)PyBytes_AS_STRING(arguments[0]);
    batch->input.at = bytes + start;
    batch->input.end = bytes + stop;
    /* A lie about the count costs no memory. */
    return batch->count >= 1 && batch->count <= (stop - start) / LEAST_RECORD_BYTES;
}

PyDoc_STRVAR(parse_kafka_records_doc,
             "parse_kafka_records(data, start, stop, count, last_delta, base_ms, append_ms)\n--\n\n"
             "Return times, keys, values, headers and offset deltas of the records in a part of some bytes.\n\n"
             "None if they are not `count` records that fill it: the caller says what is wrong.");

enum { TIMES, KEYS, VALUES, HEADERS, DELTAS, COLUMN_COUNT };

static PyObject *
parse_kafka_records(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    PyObject *columns[COLUMN_COUNT] = {NULL}, *result = NULL, *empty;
    int64_t before = -1, append_ms = 0;
    int status, is_whole = 1;
    Batch batch;

    if (argument_count != 7) {
        PyErr_SetString(PyExc_TypeError, "parse_kafka_records() takes data and six numbers");
        return NULL;
    }
    status = read_arguments(arguments, &batch);
    if (status == 1 && arguments[6] != Py_None) {
        append_ms = PyLong_AsLongLong(arguments[6]);
        status = append_ms == -1 && PyErr_Occurred() ? -1 : 1;
    }
    if (status < 1) {
        return status < 0 ? NULL : Py_NewRef(Py_None);
    }
    empty = PyTuple_New(0);
    columns[TIMES] = native_new_list(batch.count);
    for (int column = KEYS; empty != NULL && column < COLUMN_COUNT; column++) {
        columns[column] = PyTuple_New(batch.count);
        is_whole = is_whole && columns[column] != NULL;
    }
    is_whole = is_whole && empty != NULL && columns[TIMES] != NULL;
    for (Py_ssize_t index = 0; is_whole && index < batch.count; index++) {
        PyObject *key, *value, *headers, *time, *delta;
        int64_t time_ms = append_ms;
        Record record;

        if (!take_record(&batch.input, &record) || record.delta <= before || record.delta > batch.last_delta ||
            (arguments[6] == Py_None && !time_of(batch.base_ms, record.time, &time_ms))) {
            is_whole = 0;
            break;
        }
        before = record.delta;
        time = PyLong_FromLongLong(time_ms);
        key = item(record.key, record.key_size);
        value = item(record.value, record.value_size);
        headers = record.header_count == 0 ? Py_NewRef(empty) : headers_of(&record);
        delta = PyLong_FromLongLong(record.delta);
        is_whole = time != NULL && key != NULL && value != NULL && headers != NULL && delta != NULL;
        if (!is_whole) {
            Py_XDECREF(time);
            Py_XDECREF(key);
            Py_XDECREF(value);
            Py_XDECREF(headers);
            Py_XDECREF(delta);
            break;
        }
        PyList_SET_ITEM(columns[TIMES], index, time);
        PyTuple_SET_ITEM(columns[KEYS], index, key);
        PyTuple_SET_ITEM(columns[VALUES], index, value);
        PyTuple_SET_ITEM(columns[HEADERS], index, headers);
        PyTuple_SET_ITEM(columns[DELTAS], index, delta);
    }
    if (is_whole && batch.input.at == batch.input.end) {
        PyObject_GC_Track(columns[TIMES]);
        result = PyTuple_Pack(COLUMN_COUNT, columns[TIMES], columns[KEYS], columns[VALUES], columns[HEADERS],
                              columns[DELTAS]);
    }
    Py_XDECREF(empty);
    for (int column = 0; column < COLUMN_COUNT; column++) {
        Py_XDECREF(columns[column]);
    }
    if (result == NULL && !PyErr_Occurred()) {
        Py_RETURN_NONE;
    }
    return result;
}

PyDoc_STRVAR(are_kafka_records_doc,
             "are_kafka_records(data, start, stop, count, last_delta, base_ms)\n--\n\n"
             "Return whether a part of some bytes is `count` records that can be read, without reading them.");

static PyObject *
are_kafka_records(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    int64_t before = -1, time_ms;
    int status;
    Batch batch;

    if (argument_count != 6) {
        PyErr_SetString(PyExc_TypeError, "are_kafka_records() takes data and five numbers");
        return NULL;
    }
    status = read_arguments(arguments, &batch);
    if (status < 0) {
        return NULL;
    }
    for (Py_ssize_t index = 0; status == 1 && index < batch.count; index++) {
        Record record;
        status = take_record(&batch.input, &record) && record.delta > before && record.delta <= batch.last_delta &&
                 time_of(batch.base_ms, record.time, &time_ms) && (record.header_count == 0 || skip_headers(&record));
        before = status ? record.delta : before;
    }
    return PyBool_FromLong(status == 1 && batch.input.at == batch.input.end);
}

static PyMethodDef functions[] = {
    {"parse_kafka_records", (PyCFunction)(void (*)(void))parse_kafka_records, METH_FASTCALL, parse_kafka_records_doc},
    {"are_kafka_records", (PyCFunction)(void (*)(void))are_kafka_records, METH_FASTCALL, are_kafka_records_doc},
    {0},
};

int
native_add_kafka(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
