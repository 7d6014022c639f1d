/* Looks at open files: what one fstat tells, without the sixteen objects of os.fstat(). */
#include "native.h"

#include <sys/stat.h>
#include <unistd.h>

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
             "untouched(directory, changed_ns, file, least_bytes, first_place, second_place, newest)\n--\n\n"
             "Return whether a directory was last changed at a time, a file is that long, and the larger of two "
             "numbers in it is the newest one; a negative one is not looked for.");

static PyObject *
untouched(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    enum { DIRECTORY, CHANGED, FILE_, LEAST, FIRST, SECOND, NEWEST, COUNT };
    struct stat status;
    long long known[COUNT], first, second;

    if (count != COUNT) {
        PyErr_SetString(PyExc_TypeError, "untouched() takes seven arguments");
        return NULL;
    }
    for (int i = 0; i < COUNT; i++) {
        if ((known[i] = PyLong_AsLongLong(arguments[i])) == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (fstat((int)known[DIRECTORY], &status) != 0 || changed_ns(&status) != known[CHANGED] ||
        fstat((int)known[FILE_], &status) != 0 || status.st_size < known[LEAST]) {
        Py_RETURN_FALSE;
    }
    if (known[NEWEST] < 0) {
        Py_RETURN_TRUE;
    }
    if (pread((int)known[FILE_], &first, sizeof(first), known[FIRST]) != sizeof(first) ||
        pread((int)known[FILE_], &second, sizeof(second), known[SECOND]) != sizeof(second)) {
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong((first > second ? first : second) == known[NEWEST]);
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
