/* Looks at open files, without the sixteen objects of os.fstat() and the paths of os.path.join(). */
#include "native.h"

#include <fcntl.h>
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

PyDoc_STRVAR(in_place_doc,
             "in_place(known, settled_ns, least_bytes)\n--\n\n"
             "Return when a directory was last changed and how long the data file in it is, if both of its files are "
             "in their place; None if something is unusual.");

/* Whether a name in a directory leads to a file. */
static int
leads_to(int place, const char *name, long long device, long long inode)
{
    struct stat status;

    return fstatat(place, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && (long long)status.st_dev == device &&
           (long long)status.st_ino == inode;
}

static PyObject *
in_place(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    enum { MOST_HEAD_BYTES = 16 };
    const char *path, *data_name, *lock_name, *head;
    int place, data, lock;
    long long device, inode, data_device, data_inode, lock_device, lock_inode, lock_bytes, settled_ns, least_bytes;
    Py_ssize_t head_bytes;
    struct stat status;
    char found[MOST_HEAD_BYTES];
    long long changed;

    if (count != 3 || !PyTuple_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "in_place() takes a tuple and two numbers");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments[0], "yiLLyiLLyiLLLy#", &path, &place, &device, &inode, &data_name, &data,
                          &data_device, &data_inode, &lock_name, &lock, &lock_device, &lock_inode, &lock_bytes, &head,
                          &head_bytes) ||
        ((settled_ns = PyLong_AsLongLong(arguments[1])) == -1 && PyErr_Occurred()) ||
        ((least_bytes = PyLong_AsLongLong(arguments[2])) == -1 && PyErr_Occurred())) {
        return NULL;
    }
    if (head_bytes > MOST_HEAD_BYTES || fstat(place, &status) != 0) {
        Py_RETURN_NONE;
    }
    changed = changed_ns(&status); /* before the names: a later change shows next time */
    if (stat(path, &status) != 0 || (long long)status.st_dev != device || (long long)status.st_ino != inode) {
        Py_RETURN_NONE;
    }
    if (changed != settled_ns && (!leads_to(place, data_name, data_device, data_inode) ||
                                  !leads_to(place, lock_name, lock_device, lock_inode))) {
        Py_RETURN_NONE;
    }
    if (fstat(lock, &status) != 0 || status.st_size < lock_bytes ||
        pread(lock, found, (size_t)head_bytes, 0) != head_bytes || memcmp(found, head, (size_t)head_bytes) != 0 ||
        fstat(data, &status) != 0 || status.st_size < least_bytes) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("LL", changed, (long long)status.st_size);
}

PyDoc_STRVAR(two_numbers_doc,
             "two_numbers(descriptor, first_place, second_place)\n--\n\n"
             "Return the numbers of eight bytes at two places of a file; 0 where it is too short.");

static PyObject *
two_numbers(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    long long known[3];
    unsigned long long numbers[2] = {0, 0};

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "two_numbers() takes three arguments");
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        if ((known[i] = PyLong_AsLongLong(arguments[i])) == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    for (int i = 0; i < 2; i++) {
        ssize_t found = pread((int)known[0], &numbers[i], sizeof(numbers[i]), known[1 + i]);
        if (found < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (found != sizeof(numbers[i])) {
            numbers[i] = 0;
        }
    }
    return Py_BuildValue("KK", numbers[0], numbers[1]);
}

static PyMethodDef functions[] = {
    {"change_time_ns", change_time_ns, METH_O, change_time_doc},
    {"in_place", (PyCFunction)(void (*)(void))in_place, METH_FASTCALL, in_place_doc},
    {"two_numbers", (PyCFunction)(void (*)(void))two_numbers, METH_FASTCALL, two_numbers_doc},
    {"untouched", (PyCFunction)(void (*)(void))untouched, METH_FASTCALL, untouched_doc},
    {0},
};

int
native_add_files(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
