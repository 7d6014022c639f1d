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

PyDoc_STRVAR(change_time_doc, "change_time_ns(descriptor)\n--\n\nReturn when an open file was last changed.");

static PyObject *
change_time_ns(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    struct stat status;

    if (!look(descriptor, &status)) {
        return NULL;
    }
#if defined(_WIN32)
    return PyLong_FromLongLong(status.st_ctime * 1000000000LL);
#elif defined(__APPLE__)
    return PyLong_FromLongLong(status.st_ctimespec.tv_sec * 1000000000LL + status.st_ctimespec.tv_nsec);
#else
    return PyLong_FromLongLong(status.st_ctim.tv_sec * 1000000000LL + status.st_ctim.tv_nsec);
#endif
}

static PyMethodDef functions[] = {
    {"change_time_ns", change_time_ns, METH_O, change_time_doc},
    {0},
};

int
native_add_files(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
