/* Looks at open files: what one fstat tells, without the sixteen objects of os.fstat(). */
#include "native.h"

#include <sys/stat.h>

/* The status of the descriptor that is an argument; 0 with an error if there is none. */
static int
look(PyObject *descriptor, struct stat *status)
{
    long number = PyLong_AsLong(descriptor);

    if (number == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (fstat((int)number, status) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return 0;
    }
    return 1;
}

/* When a file was last changed, in nanoseconds. */
static long long
changed_ns(const struct stat *status)
{
#if defined(_WIN32)
    return status->st_ctime * 1000000000LL;
#elif defined(__APPLE__)
    return status->st_ctimespec.tv_sec * 1000000000LL + status->st_ctimespec.tv_nsec;
#else
    return status->st_ctim.tv_sec * 1000000000LL + status->st_ctim.tv_nsec;
#endif
}

PyDoc_STRVAR(change_time_doc, "change_time_ns(descriptor)\n--\n\nReturn when an open file was last changed.");

static PyObject *
change_time_ns(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    struct stat status;

    return look(descriptor, &status) ? PyLong_FromLongLong(changed_ns(&status)) : NULL;
}

PyDoc_STRVAR(untouched_doc,
             "untouched(directory, changed_ns, file, least_bytes)\n--\n\n"
             "Return whether a directory was last changed at a time, and a file is that long.");

static PyObject *
untouched(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    struct stat status;
    long long known;

    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "untouched() takes four arguments");
        return NULL;
    }
    if (((known = PyLong_AsLongLong(arguments[1])) == -1 && PyErr_Occurred()) || !look(arguments[0], &status)) {
        return NULL;
    }
    if (changed_ns(&status) != known) {
        Py_RETURN_FALSE;
    }
    if (((known = PyLong_AsLongLong(arguments[3])) == -1 && PyErr_Occurred()) || !look(arguments[2], &status)) {
        return NULL;
    }
    return PyBool_FromLong(status.st_size >= known);
}

static PyMethodDef functions[] = {
    {"change_time_ns", change_time_ns, METH_O, change_time_doc},
    {"untouched", (PyCFunction)(void (*)(void))untouched, METH_FASTCALL, untouched_doc},
    {0},
};

int
native_add_files(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
