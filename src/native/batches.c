/* A stored batch as the columns of a RecordBatch; docs/reference/format.md has the header. */
#include "maker.h"
#include "reading.h"

enum { TOPIC, PARTITION, OFFSETS, TIMESTAMPS_MS, KEYS, VALUES, HEADERS, FIELD_COUNT };
enum { ARGUMENT_COUNT = 8 };
enum { MAGIC = 0xe7, VERSION = 3, HEADER_BYTES = 60, PLACE_BYTES = 16, CHECKSUM_BYTES = 4 };
enum { COMPRESSION = 3, PLACE = 1 << 4 };

static const char *const field_names[FIELD_COUNT] = {
    "topic", "partition", "offsets", "timestamps_ms", "keys", "values", "headers",
};

/* The fields of a header that we use. */
typedef struct {
    Py_ssize_t count;
    Py_ssize_t body_at;
    int is_compressed;
    int64_t first_ms;
} Header;

/* A signed number of `width` bytes at a place of the header. */
static inline int64_t
number_at(const unsigned char *header, int start, int width)
{
    uint64_t number = 0;

    for (int index = start; index < start + width; index++) {
        number = number << 8 | header[index];
    }
    return (int64_t)(number << (64 - 8 * width)) >> (64 - 8 * width);
}

/*
 * Whether it is the header of a batch with plain columns and without gaps, of version 3 or 2. `raw_size` is the size of
 * the body of a compressed batch before that, or -1.
 */
static int
read_header(const unsigned char *data, Py_ssize_t size, Py_ssize_t raw_size, Header *header)
{
    int64_t count, span, producer, epoch, sequence, flags, most;

    if (size < HEADER_BYTES + CHECKSUM_BYTES || data[0] != MAGIC || (data[1] != VERSION && data[1] != 2)) {
        return 0;
    }
    flags = number_at(data, 2, 2);
    header->is_compressed = (flags & COMPRESSION) != 0 && data[1] == VERSION && raw_size >= 0;
    if (header->is_compressed) {
        flags &= ~COMPRESSION;
    }
    most = header->is_compressed ? raw_size : size; /* a record takes a byte at least */
    if (flags != 0 && (data[1] != VERSION || flags != PLACE || size < HEADER_BYTES + PLACE_BYTES + CHECKSUM_BYTES)) {
        return 0;
    }
    header->body_at = HEADER_BYTES + (flags == PLACE ? PLACE_BYTES : 0);
    count = number_at(data, 4, 4) & 0xffffffff;
    span = number_at(data, 8, 4) & 0xffffffff;
    producer = number_at(data, 36, 8);
    epoch = number_at(data, 44, 2);
    sequence = number_at(data, 48, 4);
    header->count = (Py_ssize_t)count;
    header->first_ms = number_at(data, 12, 8);
    return number_at(data, 46, 2) == 0 && count >= 1 && count == span && count <= most &&
           ((producer == -1 && epoch == 0 && sequence == -1) || (producer >= 0 && epoch >= 0 && sequence >= 0));
}

/* A tuple or a list with the same entry everywhere; takes the reference, which may be NULL. */
static PyObject *
repeated(PyObject *entry, Py_ssize_t count, int is_list)
{
    PyObject *column = entry == NULL ? NULL : is_list ? PyList_New(count) : PyTuple_New(count);

    for (Py_ssize_t index = 0; column != NULL && index < count; index++) {
        if (is_list) {
            PyList_SET_ITEM(column, index, Py_NewRef(entry));
        }
        else {
            PyTuple_SET_ITEM(column, index, Py_NewRef(entry));
        }
    }
    Py_XDECREF(entry);
    return column;
}

/* Fills the columns that the body does not have; -1 with an error. */
static int
fill(const Maker *maker, PyObject *batch, const Header *header, long long first)
{
    PyObject *offsets = PyObject_CallFunction((PyObject *)&PyRange_Type, "LL", first, first + header->count);
    PyObject *times = offsets == NULL ? NULL : repeated(PyLong_FromLongLong(header->first_ms), header->count, 1);
    PyObject *headers = times == NULL ? NULL : repeated(PyTuple_New(0), header->count, 0);

    maker_put(maker, batch, OFFSETS, offsets);
    maker_put(maker, batch, TIMESTAMPS_MS, times);
    maker_put(maker, batch, HEADERS, headers);
    return headers == NULL ? -1 : 0;
}

static PyObject *
make_batch(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    const Maker *maker = (const Maker *)self;
    PyObject *batch, *keys, *values;
    const unsigned char *data;
    Py_ssize_t size, raw_size;
    long long last, wanted, first;
    int last_overflows, wanted_overflows;
    Header header;
    Input body;

    if (PyVectorcall_NARGS(flags) != ARGUMENT_COUNT || names != NULL || !PyBytes_Check(arguments[0]) ||
        !native_is_plain_type(arguments[5]) || !native_is_plain_type(arguments[6]) ||
        (arguments[7] != Py_None && !PyBytes_Check(arguments[7]))) {
        PyErr_SetString(PyExc_TypeError,
                        "a batch maker takes bytes, last, first, topic, partition, two types, and bytes or None");
        return NULL;
    }
    last = PyLong_AsLongLongAndOverflow(arguments[1], &last_overflows);
    wanted = PyLong_AsLongLongAndOverflow(arguments[2], &wanted_overflows);
    if (PyErr_Occurred()) {
        return NULL;
    }
    data = (const unsigned char *)PyBytes_AS_STRING(arguments[0]);
    size = PyBytes_GET_SIZE(arguments[0]);
    raw_size = arguments[7] == Py_None ? -1 : PyBytes_GET_SIZE(arguments[7]);
    if (!read_header(data, size, raw_size, &header) || last_overflows || wanted_overflows || last < header.count - 1 ||
        last == LLONG_MAX) {
        Py_RETURN_NONE;
    }
    first = last - header.count + 1;
    if (first < wanted) {
        Py_RETURN_NONE;
    }
    if (!header.is_compressed) {
        body.at = data + header.body_at;
        body.end = data + size - CHECKSUM_BYTES;
    }
    else {
        body.at = (const unsigned char *)PyBytes_AS_STRING(arguments[7]);
        body.end = body.at + raw_size;
    }
    if (!native_take_columns(body, header.count, arguments + 5, &keys, &values)) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    if (keys == Py_None) {
        keys = repeated(keys, header.count, 0);
    }
    batch = keys == NULL ? NULL : maker->made->tp_alloc(maker->made, 0);
    if (batch == NULL) {
        Py_XDECREF(keys);
        Py_DECREF(values);
        return NULL;
    }
    maker_put(maker, batch, TOPIC, Py_NewRef(arguments[3]));
    maker_put(maker, batch, PARTITION, Py_NewRef(arguments[4]));
    maker_put(maker, batch, KEYS, keys);
    maker_put(maker, batch, VALUES, values);
    if (fill(maker, batch, &header, first) < 0) {
        Py_DECREF(batch);
        return NULL;
    }
    return batch;
}

static PyObject *
batch_maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    return maker_new(type, arguments, keywords, make_batch, field_names, FIELD_COUNT);
}

int
native_add_batch_maker(PyObject *module)
{
    return maker_add(module, "eventlog._native.BatchMaker",
                     "BatchMaker(batch_type)\n--\n\n"
                     "Makes a batch: of bytes whose checksum holds, their last offset, the first that is wanted, a "
                     "topic, a partition, the types of keys and values, and the body of a compressed batch as it "
                     "was before, or None.\n\n"
                     "None for what is not written by `pack_columns`, and where only a part is wanted.",
                     batch_maker_new, field_names, FIELD_COUNT);
}
