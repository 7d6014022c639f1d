/*
 * The body of a plain batch, as nearly all are: keys and values of bytes or text, one time, no headers.
 *
 * The bytes are MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), the same as the msgpack package
 * writes; docs/reference/format.md has the layout.
 */
#include "reading.h"

enum { COLUMN_COUNT = 5 };

/* Larger items are left to Python: two of them and a batch must fit into a size, also where sizes have 32 bits. */
#define MOST_ITEM_BYTES (PY_SSIZE_T_MAX / 4 < 0xffffffffLL ? PY_SSIZE_T_MAX / 4 : (Py_ssize_t)0xffffffffLL)
#define MOST_BODY_BYTES (PY_SSIZE_T_MAX / 4)

/* -- writing --------------------------------------------------------------------------------------------------- */

static inline unsigned char *
put_number(unsigned char *to, long long number, int width)
{
    for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
        *to++ = (unsigned char)(number >> shift);
    }
    return to;
}

static inline unsigned char *
put_array(unsigned char *to, Py_ssize_t count)
{
    if (count < 16) {
        *to++ = (unsigned char)(FIX_ARRAY | count);
        return to;
    }
    *to++ = count < 0x10000 ? ARRAY_16 : ARRAY_32;
    return put_number(to, count, count < 0x10000 ? 2 : 4);
}

/* The packed size of an item; -1 if it is not of the type, is text beyond ASCII, or is larger than we write. */
static inline Py_ssize_t
packed_size(PyObject *item, PyObject *type)
{
    Py_ssize_t size;

    if (item == Py_None) {
        return 1;
    }
    if (!native_is_plain(item, type)) {
        return -1;
    }
    (void)native_bytes(item, &size);
    return size > MOST_ITEM_BYTES ? -1 : size + (size < 0x100 ? 2 : size < 0x10000 ? 3 : 5);
}

static inline unsigned char *
put_item(unsigned char *to, PyObject *item)
{
    Py_ssize_t size;
    const char *bytes;

    if (item == Py_None) {
        *to++ = NIL;
        return to;
    }
    bytes = native_bytes(item, &size);
    if (size < 0x100) {
        *to++ = BIN_8;
        *to++ = (unsigned char)size;
    }
    else {
        *to++ = size < 0x10000 ? BIN_16 : BIN_32;
        to = put_number(to, size, size < 0x10000 ? 2 : 4);
    }
    memcpy(to, bytes, (size_t)size);
    return to + size;
}

static unsigned char *
put_column(unsigned char *to, PyObject **items, Py_ssize_t start, Py_ssize_t stop)
{
    if (items == NULL) {
        *to++ = NIL;
        return to;
    }
    to = put_array(to, stop - start);
    for (Py_ssize_t index = start; index < stop; index++) {
        to = put_item(to, items[index]);
    }
    return to;
}

/* The items of a column that is a list or a tuple; NULL for None and anything else. */
static PyObject **
items_of(PyObject *column)
{
    return native_is_column(column) ? PySequence_Fast_ITEMS(column) : NULL;
}

/* The largest head of an array, and the bytes of a body outside its two columns. */
enum { HEAD_BYTES = 5, FRAME_BYTES = 4 };

PyDoc_STRVAR(pack_columns_doc,
"pack_columns(keys, values, start, most_bytes, key_type, value_type)\n--\n\n"
"Returns the body of as many records from `start` on as fit, at least one, and the index behind them.\n\n"
"None if a column is not a list or tuple, or has an item that is neither None nor of its type, bytes or ASCII str.");

static PyObject *
pack_columns(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    PyObject *keys, *values, *body;
    PyObject **key_items, **value_items;
    Py_ssize_t start, stop, count, most, size = FRAME_BYTES + 2 * HEAD_BYTES;
    unsigned char *to;

    if (argument_count != 6 || !native_is_plain_type(arguments[4]) || !native_is_plain_type(arguments[5])) {
        PyErr_SetString(PyExc_TypeError, "pack_columns takes two columns, two numbers and two types");
        return NULL;
    }
    keys = arguments[0];
    values = arguments[1];
    start = PyLong_AsSsize_t(arguments[2]);
    most = PyLong_AsSsize_t(arguments[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    most = most > MOST_BODY_BYTES ? MOST_BODY_BYTES : most;
    key_items = items_of(keys);
    value_items = items_of(values);
    if (value_items == NULL || (key_items == NULL && keys != Py_None)) {
        Py_RETURN_NONE;
    }
    count = PySequence_Fast_GET_SIZE(values);
    if (start < 0 || start >= count || (key_items != NULL && PySequence_Fast_GET_SIZE(keys) != count)) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length, or hold nothing from there on");
        return NULL;
    }
    for (stop = start; stop < count; stop++) {
        Py_ssize_t key_size = key_items == NULL ? 0 : packed_size(key_items[stop], arguments[4]);
        Py_ssize_t value_size = packed_size(value_items[stop], arguments[5]);
        if (key_size < 0 || value_size < 0) {
            Py_RETURN_NONE;
        }
        if (size + key_size + value_size > most && stop > start) {
            break;
        }
        size += key_size + value_size;
    }
    body = PyBytes_FromStringAndSize(NULL, size);
    if (body == NULL) {
        return NULL;
    }
    to = put_array((unsigned char *)PyBytes_AS_STRING(body), COLUMN_COUNT);
    *to++ = 0; /* the times: all equal the first */
    to = put_column(to, key_items, start, stop);
    to = put_column(to, value_items, start, stop);
    *to++ = NIL; /* no headers */
    *to++ = NIL; /* offsets without gaps */
    if (_PyBytes_Resize(&body, to - (unsigned char *)PyBytes_AS_STRING(body)) < 0) {
        return NULL;
    }
    return Py_BuildValue("(Nn)", body, stop);
}

/* -- one record ------------------------------------------------------------------------------------------------ */

/* A header, the heads of two columns of one, and the checksum: what a batch of one record has beside key and value. */
enum { HEADER_BYTES = 60, ROW_KEY_BYTES = 16, ORDER_KEY_BYTES = 8, CHECKSUM_BYTES = 4, MOST_SEALED_BYTES = 1920 };

static unsigned char *
put_checksum(unsigned char *to, uint32_t checksum)
{
    for (int index = 0; index < CHECKSUM_BYTES; index++) {
        *to++ = (unsigned char)(checksum >> 8 * index);
    }
    return to;
}

/* The header of a batch of columns that no named producer sent. */
static unsigned char *
put_header(unsigned char *to, long long count, long long span, const long long *first_and_largest_ms,
           long long largest_so_far_ms, long long log_position)
{
    *to++ = 0xe7; /* the magic byte, the version, and no flags */
    *to++ = 3;
    to = put_number(to, 0, 2);
    to = put_number(to, count, 4);
    to = put_number(to, span, 4);
    to = put_number(to, first_and_largest_ms[0], 8);
    to = put_number(to, first_and_largest_ms[1], 8);
    to = put_number(to, largest_so_far_ms, 8);
    to = put_number(to, -1, 8); /* no named producer: its id, epoch, two spare bytes, sequence */
    to = put_number(to, 0, 4);
    to = put_number(to, -1, 4);
    return put_number(to, log_position, 8);
}

/* The row in the order of the log: the key of a batch by the last position in it, with the checksum of both. */
static void
put_place(unsigned char *order, unsigned char *step, long long last_position, const unsigned char *row_key)
{
    put_number(step, last_position, ORDER_KEY_BYTES);
    memcpy(order, row_key, ROW_KEY_BYTES);
    put_checksum(order + ROW_KEY_BYTES,
                 ~native_checksum(native_checksum(0xffffffff, step, ORDER_KEY_BYTES), order, ROW_KEY_BYTES));
}

PyDoc_STRVAR(seal_record_doc,
"seal_record(topic_id, partition, offset, log_position, timestamp_ms, largest_so_far_ms, key, value)\n--\n\n"
"Returns the keys and values of the two rows of a record without headers: its batch, and its place in the order.\n\n"
"None if the key or the value is neither None nor bytes, or if the batch is large.");

static PyObject *
seal_record(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    enum { TOPIC, PARTITION, OFFSET, POSITION, TIME, LARGEST, NUMBERS, KEY = NUMBERS, VALUE, COUNT };
    long long numbers[NUMBERS], times[2];
    Py_ssize_t key_size, value_size;
    unsigned char batch[MOST_SEALED_BYTES], row_key[ROW_KEY_BYTES], step[ORDER_KEY_BYTES];
    unsigned char order[ROW_KEY_BYTES + CHECKSUM_BYTES], *to = batch;

    if (argument_count != COUNT) {
        PyErr_SetString(PyExc_TypeError, "seal_record() takes six numbers, a key and a value");
        return NULL;
    }
    for (int index = 0; index < NUMBERS; index++) {
        numbers[index] = PyLong_AsLongLong(arguments[index]);
        if (numbers[index] == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    key_size = packed_size(arguments[KEY], (PyObject *)&PyBytes_Type);
    value_size = packed_size(arguments[VALUE], (PyObject *)&PyBytes_Type);
    if (key_size < 0 || value_size < 0 || numbers[OFFSET] < 0 || numbers[POSITION] < 0 || numbers[TOPIC] < 0 ||
        numbers[PARTITION] < 0 || numbers[TOPIC] > UINT32_MAX || numbers[PARTITION] > UINT32_MAX ||
        HEADER_BYTES + key_size + value_size + FRAME_BYTES + 2 + CHECKSUM_BYTES > MOST_SEALED_BYTES) {
        Py_RETURN_NONE;
    }
    times[0] = times[1] = numbers[TIME];
    to = put_header(to, 1, 1, times, numbers[LARGEST], numbers[POSITION]);
    to = put_array(to, COLUMN_COUNT);
    *to++ = 0; /* the times: all equal the first */
    to = arguments[KEY] == Py_None ? to : put_array(to, 1);
    to = put_item(to, arguments[KEY]);
    to = put_array(to, 1);
    to = put_item(to, arguments[VALUE]);
    *to++ = NIL; /* no headers */
    *to++ = NIL; /* offsets without gaps */
    to = put_checksum(to, ~native_checksum(0xffffffff, batch, to - batch));
    put_number(put_number(put_number(row_key, numbers[TOPIC], 4), numbers[PARTITION], 4), numbers[OFFSET], 8);
    put_place(order, step, numbers[POSITION], row_key);
    return Py_BuildValue("y#y#y#y#", row_key, (Py_ssize_t)ROW_KEY_BYTES, batch, (Py_ssize_t)(to - batch), step,
                         (Py_ssize_t)ORDER_KEY_BYTES, order, (Py_ssize_t)sizeof(order));
}

/* -- one batch ------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(seal_batch_doc,
"seal_batch(topic_id, partition, last, log_position, largest_so_far_ms, count, span, first_ms, largest_ms, body)\n"
"--\n\n"
"Returns the keys and values of the two rows of a batch of columns: its own, and its place in the order.\n\n"
"None if the batch is large.");

static PyObject *
seal_batch(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    enum { TOPIC, PARTITION, LAST, POSITION, LARGEST_SO_FAR, RECORDS, SPAN, FIRST_MS, LARGEST_MS, NUMBERS };
    enum { BODY = NUMBERS, COUNT };
    long long numbers[NUMBERS], end_position;
    Py_ssize_t body_size;
    unsigned char batch[MOST_SEALED_BYTES], row_key[ROW_KEY_BYTES], step[ORDER_KEY_BYTES];
    unsigned char order[ROW_KEY_BYTES + CHECKSUM_BYTES], *to = batch;

    if (argument_count != COUNT || !PyBytes_Check(arguments[BODY])) {
        PyErr_SetString(PyExc_TypeError, "seal_batch() takes nine numbers and a body");
        return NULL;
    }
    for (int index = 0; index < NUMBERS; index++) {
        numbers[index] = PyLong_AsLongLong(arguments[index]);
        if (numbers[index] == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    body_size = PyBytes_GET_SIZE(arguments[BODY]);
    if (body_size > MOST_SEALED_BYTES - HEADER_BYTES - CHECKSUM_BYTES || numbers[RECORDS] < 1 ||
        numbers[RECORDS] > numbers[SPAN] || numbers[SPAN] > UINT32_MAX || numbers[LAST] < numbers[SPAN] - 1 ||
        numbers[POSITION] < 0 || numbers[POSITION] > LLONG_MAX - UINT32_MAX || numbers[TOPIC] < 0 ||
        numbers[PARTITION] < 0 || numbers[TOPIC] > UINT32_MAX || numbers[PARTITION] > UINT32_MAX) {
        Py_RETURN_NONE;
    }
    to = put_header(to, numbers[RECORDS], numbers[SPAN], numbers + FIRST_MS, numbers[LARGEST_SO_FAR],
                    numbers[POSITION]);
    memcpy(to, PyBytes_AS_STRING(arguments[BODY]), (size_t)body_size);
    to += body_size;
    to = put_checksum(to, ~native_checksum(0xffffffff, batch, to - batch));
    put_number(put_number(put_number(row_key, numbers[TOPIC], 4), numbers[PARTITION], 4), numbers[LAST], 8);
    end_position = numbers[POSITION] + numbers[SPAN];
    put_place(order, step, end_position - 1, row_key);
    return Py_BuildValue("y#y#y#y#", row_key, (Py_ssize_t)ROW_KEY_BYTES, batch, (Py_ssize_t)(to - batch), step,
                         (Py_ssize_t)ORDER_KEY_BYTES, order, (Py_ssize_t)sizeof(order));
}

/* -- reading --------------------------------------------------------------------------------------------------- */

/* A tuple of `count` items, or None if None is stored; NULL as above. */
static PyObject *
take_column(Input *input, Py_ssize_t count, PyObject *type)
{
    PyObject *column;

    if (input->at < input->end && *input->at == NIL) {
        input->at++;
        return Py_NewRef(Py_None);
    }
    /* Each item takes at least a byte: a wrong count costs no memory. */
    if (take_array(input) != count || count > input->end - input->at) {
        return NULL;
    }
    column = PyTuple_New(count);
    for (Py_ssize_t index = 0; column != NULL && index < count; index++) {
        PyObject *item = take_item(input, type);
        if (item == NULL) {
            Py_CLEAR(column);
            break;
        }
        PyTuple_SET_ITEM(column, index, item);
    }
    return column;
}

int
native_take_columns(Input input, Py_ssize_t count, PyObject *const *types, PyObject **keys, PyObject **values)
{
    *keys = *values = NULL;
    if (take_array(&input) == COLUMN_COUNT && take_number(&input, 1) == 0) {
        *keys = take_column(&input, count, types[0]);
        *values = *keys == NULL ? NULL : take_column(&input, count, types[1]);
        if (*values != NULL && *values != Py_None && input.end - input.at == 2 && input.at[0] == NIL &&
            input.at[1] == NIL) {
            return 1;
        }
    }
    Py_CLEAR(*keys);
    Py_CLEAR(*values);
    return 0;
}

PyDoc_STRVAR(unpack_columns_doc,
"unpack_columns(data, start, stop, count, key_type, value_type)\n--\n\n"
"Returns the keys and the values of a body: tuples of `count` entries, or None for a missing column.\n\n"
"None if the body has more than these, or if it is not UTF-8 where str is asked for: the caller decodes it.");

static PyObject *
unpack_columns(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t argument_count)
{
    PyObject *keys, *values, *result = NULL;
    Py_ssize_t start, stop, count, size;
    Input input;

    if (argument_count != 6 || !PyBytes_Check(arguments[0]) || !native_is_plain_type(arguments[4]) ||
        !native_is_plain_type(arguments[5])) {
        PyErr_SetString(PyExc_TypeError, "unpack_columns takes bytes, three numbers and two types");
        return NULL;
    }
    start = PyLong_AsSsize_t(arguments[1]);
    stop = PyLong_AsSsize_t(arguments[2]);
    count = PyLong_AsSsize_t(arguments[3]);
    if (PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) { /* no body has that many */
            PyErr_Clear();
            Py_RETURN_NONE;
        }
        return NULL;
    }
    size = PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || stop < start || stop > size || count < 0) {
        PyErr_SetString(PyExc_ValueError, "unpack_columns was given no part of the data");
        return NULL;
    }
    input.at = (const unsigned char *)PyBytes_AS_STRING(arguments[0]) + start;
    input.end = input.at + stop - start;
    if (native_take_columns(input, count, arguments + 4, &keys, &values)) {
        result = PyTuple_Pack(2, keys, values);
        Py_DECREF(keys);
        Py_DECREF(values);
    }
    if (result == NULL && !PyErr_Occurred()) {
        Py_RETURN_NONE;
    }
    return result;
}

static PyMethodDef functions[] = {
    {"seal_record", (PyCFunction)(void (*)(void))seal_record, METH_FASTCALL, seal_record_doc},
    {"seal_batch", (PyCFunction)(void (*)(void))seal_batch, METH_FASTCALL, seal_batch_doc},
    {"pack_columns", (PyCFunction)(void (*)(void))pack_columns, METH_FASTCALL, pack_columns_doc},
    {"unpack_columns", (PyCFunction)(void (*)(void))unpack_columns, METH_FASTCALL, unpack_columns_doc},
    {0},
};

int
native_add_columns(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
