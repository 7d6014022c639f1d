/* The partitions of keys: the hashes of the named partitioners, and columns split by them. */
#include "native.h"

/* -- CRC32, as zlib has it: librdkafka's `consistent` ---------------------------------------------------------- */

static uint32_t crc_table[256];

static void
fill_crc_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) {
            rest = rest & 1 ? 0xedb88320u ^ rest >> 1 : rest >> 1;
        }
        crc_table[byte] = rest;
    }
}

uint32_t
native_crc32(const unsigned char *bytes, Py_ssize_t size)
{
    uint32_t rest = 0xffffffffu;

    for (Py_ssize_t index = 0; index < size; index++) {
        rest = crc_table[(rest ^ bytes[index]) & 0xff] ^ rest >> 8;
    }
    return ~rest;
}

/* -- murmur2, as Kafka's Java client has it, without the sign bit ---------------------------------------------- */

uint32_t
native_murmur2(const unsigned char *bytes, Py_ssize_t size)
{
    const uint32_t multiplier = 0x5bd1e995u;
    uint32_t mixed = 0x9747b28cu ^ (uint32_t)size;

    for (; size >= 4; bytes += 4, size -= 4) {
        uint32_t word = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        word *= multiplier;
        mixed = mixed * multiplier ^ (word ^ word >> 24) * multiplier;
    }
    if (size > 0) {
        uint32_t rest = bytes[0];
        rest |= size > 1 ? (uint32_t)bytes[1] << 8 : 0;
        rest |= size > 2 ? (uint32_t)bytes[2] << 16 : 0;
        mixed = (mixed ^ rest) * multiplier;
    }
    mixed = (mixed ^ mixed >> 13) * multiplier;
    return (mixed ^ mixed >> 15) & 0x7fffffffu;
}

PyDoc_STRVAR(murmur2_doc, "murmur2(key)\n--\n\nReturns Kafka's murmur2 of bytes, without the sign bit.");

static PyObject *
murmur2(PyObject *Py_UNUSED(module), PyObject *key)
{
    if (!PyBytes_Check(key)) {
        PyErr_SetString(PyExc_TypeError, "murmur2 takes bytes");
        return NULL;
    }
    return PyLong_FromUnsignedLong(
        native_murmur2((const unsigned char *)PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)));
}

/* -- splitting ------------------------------------------------------------------------------------------------- */

/* Records by partition: those of partition p are order[starts[p]] to order[starts[p + 1]], in their own order. */
typedef struct {
    Py_ssize_t *starts;
    Py_ssize_t *order;
    uint32_t *places;
} Parting;

/* Finds the partition of each key and counts them behind the starts; 0 if a key is not of the type. */
static int
place_keys(Parting *parting, PyObject *keys, PyObject *type, int is_murmur2, uint32_t keyless, uint32_t partitions)
{
    PyObject **items = PySequence_Fast_ITEMS(keys);
    Py_ssize_t count = PySequence_Fast_GET_SIZE(keys);

    for (Py_ssize_t index = 0; index < count; index++) {
        uint32_t place = keyless;
        if (items[index] != Py_None) {
            Py_ssize_t size;
            const unsigned char *bytes;
            if (!native_is_plain(items[index], type)) {
                return 0;
            }
            bytes = (const unsigned char *)native_bytes(items[index], &size);
            place = (is_murmur2 ? native_murmur2(bytes, size) : native_crc32(bytes, size)) % partitions;
        }
        parting->places[index] = place;
        parting->starts[place + 1]++;
    }
    return 1;
}

/* Turns the counts into starts, and orders the records by partition. */
static void
put_in_order(Parting *parting, Py_ssize_t count, uint32_t partitions)
{
    for (uint32_t partition = 0; partition < partitions; partition++) {
        parting->starts[partition + 1] += parting->starts[partition];
    }
    /* Each start moves to the end of its partition, where the next one starts; then all move back by one. */
    for (Py_ssize_t index = 0; index < count; index++) {
        parting->order[parting->starts[parting->places[index]]++] = index;
    }
    memmove(parting->starts + 1, parting->starts, partitions * sizeof(Py_ssize_t));
    parting->starts[0] = 0;
}

static PyObject *
part_of(PyObject *column, const Py_ssize_t *order, Py_ssize_t count)
{
    PyObject *part = PyList_New(count);

    for (Py_ssize_t index = 0; part != NULL && index < count; index++) {
        PyObject *item = native_entry(column, order[index]);
        if (item == NULL) {
            Py_CLEAR(part);
            break;
        }
        PyList_SET_ITEM(part, index, item);
    }
    return part;
}

static PyObject *
parts_of(const Parting *parting, PyObject *keys, PyObject *values, uint32_t partitions)
{
    PyObject *parts = PyList_New(0);

    for (uint32_t partition = 0; parts != NULL && partition < partitions; partition++) {
        const Py_ssize_t *order = parting->order + parting->starts[partition];
        Py_ssize_t count = parting->starts[partition + 1] - parting->starts[partition];
        PyObject *part, *part_keys, *part_values;
        int is_added;
        if (count == 0) {
            continue;
        }
        part_keys = part_of(keys, order, count);
        part_values = part_keys == NULL ? NULL : part_of(values, order, count);
        part = part_values == NULL ? NULL : Py_BuildValue("(IOO)", (unsigned int)partition, part_keys, part_values);
        Py_XDECREF(part_keys);
        Py_XDECREF(part_values);
        is_added = part != NULL && PyList_Append(parts, part) == 0;
        Py_XDECREF(part);
        if (!is_added) {
            Py_CLEAR(parts);
        }
    }
    return parts;
}

PyDoc_STRVAR(part_columns_doc,
"part_columns(keys, values, partitions, is_murmur2, keyless, key_type)\n--\n\n"
"Returns (partition, its keys, its values) for each partition that gets any, in order.\n\n"
"None when a column is no list or tuple, or a key is neither None nor of its type, bytes or ASCII str.");

static PyObject *
part_columns(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *keys, *values, *type, *parts = NULL;
    unsigned int partitions, keyless;
    int is_murmur2;
    Py_ssize_t count;
    Parting parting;

    if (!PyArg_ParseTuple(arguments, "OOIpIO", &keys, &values, &partitions, &is_murmur2, &keyless, &type)) {
        return NULL;
    }
    if (!native_is_plain_type(type)) {
        PyErr_SetString(PyExc_TypeError, "part_columns takes bytes or str as the type of keys");
        return NULL;
    }
    if (!native_is_column(keys) || !native_is_column(values)) {
        Py_RETURN_NONE;
    }
    count = PySequence_Fast_GET_SIZE(keys);
    if (PySequence_Fast_GET_SIZE(values) != count || keyless >= partitions) {
        PyErr_SetString(PyExc_ValueError, "the columns differ in length, or there is no such partition");
        return NULL;
    }
    parting.starts = PyMem_Calloc((size_t)partitions + 1, sizeof(Py_ssize_t));
    parting.order = PyMem_New(Py_ssize_t, count);
    parting.places = PyMem_New(uint32_t, count);
    if (parting.starts == NULL || parting.order == NULL || parting.places == NULL) {
        PyErr_NoMemory();
    }
    else if (place_keys(&parting, keys, type, is_murmur2, keyless, partitions)) {
        put_in_order(&parting, count, partitions);
        parts = parts_of(&parting, keys, values, partitions);
    }
    else {
        parts = Py_NewRef(Py_None);
    }
    PyMem_Free(parting.starts);
    PyMem_Free(parting.order);
    PyMem_Free(parting.places);
    return parts;
}

static PyMethodDef functions[] = {
    {"murmur2", murmur2, METH_O, murmur2_doc},
    {"part_columns", part_columns, METH_VARARGS, part_columns_doc},
    {0},
};

int
native_add_keys(PyObject *module)
{
    fill_crc_table();
    return PyModule_AddFunctions(module, functions);
}
