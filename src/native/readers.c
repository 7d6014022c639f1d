/* The beginning of a read: with the transaction that py-lmdb keeps, or else alone in LMDB's table of readers. */
#include "native.h"

#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

enum { OWNER_DIED = 0x40000000, WRITERS_MUTEX_AT = 64 };

static PyObject *begin_name, *abort_name, *nothing;

/* The word of an environment of py-lmdb at a place; NULL where the object ends before it. */
static void **
word_at(PyObject *handle, Py_ssize_t place)
{
    if (place < 0 || place > Py_TYPE(handle)->tp_basicsize - (Py_ssize_t)sizeof(void *)) {
        return NULL;
    }
    return (void **)((char *)handle + place);
}

/* The method `begin` of environments, called without an object for the bound method; NULL if it is another kind. */
static PyCFunctionWithKeywords
begin_of(PyTypeObject *type)
{
    static PyTypeObject *known_type;
    static PyCFunctionWithKeywords known;
    PyObject *method;

    if (type == known_type) {
        return known;
    }
    method = PyObject_GetAttr((PyObject *)type, begin_name);
    if (method == NULL) {
        return NULL;
    }
    if (Py_IS_TYPE(method, &PyMethodDescr_Type) && PyDescr_TYPE(method) == type &&
        ((PyMethodDescrObject *)method)->d_method->ml_flags == (METH_VARARGS | METH_KEYWORDS)) {
        known = (PyCFunctionWithKeywords)(void (*)(void))((PyMethodDescrObject *)method)->d_method->ml_meth;
        known_type = (PyTypeObject *)Py_NewRef(type);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "begin_reading() takes an environment of LMDB");
    }
    Py_DECREF(method);
    return type == known_type ? known : NULL;
}

PyDoc_STRVAR(begin_reading_doc,
             "begin_reading(handle, slots, options)\n--\n\n"
             "Begin a read transaction if that needs no wait; None otherwise.");

/*
 * From the look at the spare transaction to the beginning no other thread runs: py-lmdb begins a read without letting
 * go of the interpreter, and nothing is made here that the garbage collector tracks.
 */
static PyObject *
begin_reading(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    PyCFunctionWithKeywords begin;
    PyObject *slots, *busy, *result;
    long lock_file;
    void **spare;

    if (count != 3 || !PyTuple_Check(slots = arguments[1]) || PyTuple_GET_SIZE(slots) != 3 ||
        !PyList_Check(busy = PyTuple_GET_ITEM(slots, 2)) || !PyDict_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "begin_reading() takes an environment, a tuple of three and a dict");
        return NULL;
    }
    spare = word_at(arguments[0], PyLong_AsSsize_t(PyTuple_GET_ITEM(slots, 0)));
    lock_file = PyLong_AsLong(PyTuple_GET_ITEM(slots, 1));
    if (PyErr_Occurred() || (begin = begin_of(Py_TYPE(arguments[0]))) == NULL) {
        return NULL;
    }
    if (lock_file < 0 || (spare != NULL && *spare != NULL)) {
        return begin(arguments[0], nothing, arguments[2]);
    }
    if (PyList_GET_SIZE(busy) > 0 || flock((int)lock_file, LOCK_EX | LOCK_NB) != 0) {
        Py_RETURN_NONE;
    }
    result = begin(arguments[0], nothing, arguments[2]);
    flock((int)lock_file, LOCK_UN);
    return result;
}

/* Begins a read transaction, and copies the words of the environment meanwhile; 0 with an error set. */
static int
begin_and_end(PyObject *handle, void **words, size_t bytes)
{
    PyObject *transaction = PyObject_CallMethodNoArgs(handle, begin_name), *done;

    if (transaction == NULL) {
        return 0;
    }
    memcpy(words, handle, bytes);
    done = PyObject_CallMethodNoArgs(transaction, abort_name);
    Py_XDECREF(done);
    Py_DECREF(transaction);
    return done != NULL;
}

PyDoc_STRVAR(find_spare_doc,
             "find_spare(handle)\n--\n\n"
             "Return where an environment keeps its spare transaction, seen from what a read changes; -1 if that is "
             "not clear.");

static PyObject *
find_spare(PyObject *Py_UNUSED(module), PyObject *handle)
{
    enum { MOST_WORDS = 64 };
    void *idle[MOST_WORDS], *reading[MOST_WORDS];
    Py_ssize_t words = Py_TYPE(handle)->tp_basicsize / (Py_ssize_t)sizeof(void *), found = -1;
    size_t bytes = (size_t)words * sizeof(void *);

    if (words > MOST_WORDS) {
        return PyLong_FromLong(-1);
    }
    if (!begin_and_end(handle, reading, bytes)) { /* there is a spare one from here on */
        return NULL;
    }
    memcpy(idle, handle, bytes);
    if (!begin_and_end(handle, reading, bytes)) {
        return NULL;
    }
    for (Py_ssize_t word = 0; word < words; word++) {
        if (idle[word] != NULL && reading[word] == NULL && ((void **)handle)[word] == idle[word]) {
            if (found >= 0) {
                return PyLong_FromLong(-1);
            }
            found = word;
        }
    }
    return PyLong_FromSsize_t(found < 0 ? -1 : found * (Py_ssize_t)sizeof(void *));
}

PyDoc_STRVAR(forget_spare_doc,
             "forget_spare(handle, place)\n--\n\n"
             "Take the spare transaction out of an environment, without ending it.");

static PyObject *
forget_spare(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_ssize_t place;
    void **spare;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "forget_spare() takes two arguments");
        return NULL;
    }
    if ((place = PyLong_AsSsize_t(arguments[1])) == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if ((spare = word_at(arguments[0], place)) != NULL) {
        *spare = NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(writer_died_doc,
             "writer_died(address, lock_file)\n--\n\n"
             "Return whether the last owner of LMDB's write lock died with it, which begins at this address, or in the "
             "file.");

static PyObject *
writer_died(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    const volatile uint32_t *words;
    uint32_t found[2];

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "writer_died() takes two arguments");
        return NULL;
    }
    words = PyLong_AsVoidPtr(arguments[0]);
    if (words == NULL && !PyErr_Occurred()) {
        int lock_file = (int)PyLong_AsLong(arguments[1]);
        words = pread(lock_file, found, sizeof(found), WRITERS_MUTEX_AT) == sizeof(found) ? found : NULL;
        if (words == NULL && !PyErr_Occurred()) {
            Py_RETURN_FALSE;
        }
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    /* glibc's word is the first, musl's the second */
    return PyBool_FromLong(((words[0] | words[1]) & OWNER_DIED) != 0);
}

static PyMethodDef functions[] = {
    {"begin_reading", (PyCFunction)(void (*)(void))begin_reading, METH_FASTCALL, begin_reading_doc},
    {"find_spare", find_spare, METH_O, find_spare_doc},
    {"forget_spare", (PyCFunction)(void (*)(void))forget_spare, METH_FASTCALL, forget_spare_doc},
    {"writer_died", (PyCFunction)(void (*)(void))writer_died, METH_FASTCALL, writer_died_doc},
    {0},
};

int
native_add_readers(PyObject *module)
{
    begin_name = PyUnicode_InternFromString("begin");
    abort_name = PyUnicode_InternFromString("abort");
    nothing = PyTuple_New(0);
    return begin_name == NULL || abort_name == NULL || nothing == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
