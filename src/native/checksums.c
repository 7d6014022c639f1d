/*
 * The checksum of a row: CRC32C over its key and its value, little-endian behind the value.
 *
 * By the instruction of the processor where there is one, else by a table: rows are short, and nearly all of the time
 * goes into the call.
 */
#include "native.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_INSTRUCTION 1
#include <nmmintrin.h>
#else
#define HAS_INSTRUCTION 0
#endif

enum { CHECKSUM_BYTES = 4 };
#define RESIDUE 0xb798b438u /* the register after any bytes and their own checksum */

static uint32_t table[256];
static uint32_t (*extend)(uint32_t, const unsigned char *, Py_ssize_t);

static uint32_t
extend_by_table(uint32_t rest, const unsigned char *bytes, Py_ssize_t size)
{
    for (Py_ssize_t index = 0; index < size; index++) {
        rest = table[(rest ^ bytes[index]) & 0xff] ^ rest >> 8;
    }
    return rest;
}

#if HAS_INSTRUCTION
__attribute__((target("sse4.2"))) static uint32_t
extend_by_instruction(uint32_t rest, const unsigned char *bytes, Py_ssize_t size)
{
    uint64_t wide = rest, word;

    for (; size >= 8; size -= 8, bytes += 8) {
        memcpy(&word, bytes, sizeof(word));
        wide = _mm_crc32_u64(wide, word);
    }
    rest = (uint32_t)wide;
    while (size-- > 0) {
        rest = _mm_crc32_u8(rest, *bytes++);
    }
    return rest;
}
#endif

uint32_t
native_checksum(uint32_t rest, const unsigned char *bytes, Py_ssize_t size)
{
    return extend(rest, bytes, size);
}

static void
fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) {
            rest = rest & 1 ? rest >> 1 ^ 0x82f63b78 : rest >> 1;
        }
        table[byte] = rest;
    }
    extend = extend_by_table;
#if HAS_INSTRUCTION
    if (__builtin_cpu_supports("sse4.2")) {
        extend = extend_by_instruction;
    }
#endif
}

PyDoc_STRVAR(seal_row_doc,
             "seal_row(key, value)\n--\n\nReturn the bytes of a row: its value, and the checksum of both.");

static PyObject *
seal_row(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *row;
    Py_ssize_t size;
    unsigned char *bytes;
    uint32_t rest;

    if (count != 2 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "seal_row() takes two bytes objects");
        return NULL;
    }
    size = PyBytes_GET_SIZE(arguments[1]);
    row = PyBytes_FromStringAndSize(NULL, size + CHECKSUM_BYTES);
    if (row == NULL) {
        return NULL;
    }
    bytes = (unsigned char *)PyBytes_AS_STRING(row);
    memcpy(bytes, PyBytes_AS_STRING(arguments[1]), (size_t)size);
    rest = extend(0xffffffff, (const unsigned char *)PyBytes_AS_STRING(arguments[0]), PyBytes_GET_SIZE(arguments[0]));
    rest = ~extend(rest, bytes, size);
    for (int index = 0; index < CHECKSUM_BYTES; index++) {
        bytes[size + index] = (unsigned char)(rest >> 8 * index);
    }
    return row;
}

PyDoc_STRVAR(unseal_row_doc,
             "unseal_row(key, data)\n--\n\nReturn the value in the bytes of a row, None if their checksum is wrong.");

/* The value in the bytes of a row; None if they do not fit together. */
static PyObject *
unsealed(const void *key, Py_ssize_t key_size, const void *data, Py_ssize_t size)
{
    if (size < CHECKSUM_BYTES || extend(extend(0xffffffff, key, key_size), data, size) != RESIDUE) {
        Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize(data, size - CHECKSUM_BYTES);
}

static PyObject *
unseal_row(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *value;
    Py_buffer key, data;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "unseal_row() takes a key and the bytes of a row");
        return NULL;
    }
    if (PyBytes_Check(arguments[0]) && PyBytes_Check(arguments[1])) {
        return unsealed(PyBytes_AS_STRING(arguments[0]), PyBytes_GET_SIZE(arguments[0]),
                        PyBytes_AS_STRING(arguments[1]), PyBytes_GET_SIZE(arguments[1]));
    }
    if (PyObject_GetBuffer(arguments[0], &key, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&key);
        return NULL;
    }
    value = unsealed(key.buf, key.len, data.buf, data.len);
    PyBuffer_Release(&data);
    PyBuffer_Release(&key);
    return value;
}

static PyMethodDef functions[] = {
    {"seal_row", (PyCFunction)(void (*)(void))seal_row, METH_FASTCALL, seal_row_doc},
    {"unseal_row", (PyCFunction)(void (*)(void))unseal_row, METH_FASTCALL, unseal_row_doc},
    {0},
};

int
native_add_checksums(PyObject *module)
{
    fill_table();
    return PyModule_AddFunctions(module, functions);
}
