/* Looks at open files, without the sixteen objects of os.fstat() and the paths of os.path.join(). */
#include "native.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Both files of a log, and the directory that they are in; `file_pair.py` fills it. */
typedef struct {
    const char *path, *data_name, *lock_name, *head;
    int place, data, lock;
    long long ids[6]; /* device and inode of the directory and of both files */
    long long lock_bytes;
    Py_ssize_t head_bytes;
} Known;

static int
take_known(PyObject *tuple, Known *known)
{
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "what is known of the files is a tuple");
        return 0;
    }
    return PyArg_ParseTuple(tuple, "yiLLyiLLyiLLLy#", &known->path, &known->place, &known->ids[0], &known->ids[1],
                            &known->data_name, &known->data, &known->ids[2], &known->ids[3], &known->lock_name,
                            &known->lock, &known->ids[4], &known->ids[5], &known->lock_bytes, &known->head,
                            &known->head_bytes);
}

/* Whether a name leads to a file; a path may lead there by links, a name in the directory may not. */
static int
leads_to(int place, const char *name, int flags, const long long *ids)
{
    struct stat status;

    return fstatat(place, name, &status, flags) == 0 && (long long)status.st_dev == ids[0] &&
           (long long)status.st_ino == ids[1];
}

/* Whether both names lead to the files, unless the directory was last changed at the time for which that is known. */
static int
have_names(const Known *known, long long settled_ns, long long *changed)
{
    struct stat status;

    if (fstat(known->place, &status) != 0) {
        return 0;
    }
    *changed = changed_ns(&status); /* before the names: a later change shows next time */
    return *changed == settled_ns || (leads_to(AT_FDCWD, known->path, 0, known->ids) &&
                                      leads_to(known->place, known->data_name, AT_SYMLINK_NOFOLLOW, known->ids + 2) &&
                                      leads_to(known->place, known->lock_name, AT_SYMLINK_NOFOLLOW, known->ids + 4));
}

/* Whether the directory was last changed at that time, which is so nearly always: then no more is taken apart. */
static int
is_unchanged(PyObject *tuple, long long settled_ns)
{
    struct stat status;
    long place;

    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) < 2) {
        return 0;
    }
    place = PyLong_AsLong(PyTuple_GET_ITEM(tuple, 1));
    return !(place == -1 && PyErr_Occurred()) && fstat((int)place, &status) == 0 && changed_ns(&status) == settled_ns;
}

PyDoc_STRVAR(same_names_doc,
             "same_names(known, settled_ns)\n--\n\n"
             "Return whether a directory was last changed at a time, or else its names still lead to both files.");

static PyObject *
same_names(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Known known;
    long long settled_ns, changed;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "same_names() takes two arguments");
        return NULL;
    }
    if ((settled_ns = PyLong_AsLongLong(arguments[1])) == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (is_unchanged(arguments[0], settled_ns)) {
        Py_RETURN_TRUE;
    }
    if (PyErr_Occurred() || !take_known(arguments[0], &known)) {
        return NULL;
    }
    return PyBool_FromLong(have_names(&known, settled_ns, &changed));
}

PyDoc_STRVAR(in_place_doc,
             "in_place(known, settled_ns, least_bytes)\n--\n\n"
             "Return when a directory was last changed and how long the data file in it is, if both of its files are "
             "in their place and whole; None if something is unusual.");

static PyObject *
in_place(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    enum { MOST_HEAD_BYTES = 16 };
    Known known;
    long long settled_ns, least_bytes, changed;
    struct stat status;
    char found[MOST_HEAD_BYTES];

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "in_place() takes three arguments");
        return NULL;
    }
    if (!take_known(arguments[0], &known) ||
        ((settled_ns = PyLong_AsLongLong(arguments[1])) == -1 && PyErr_Occurred()) ||
        ((least_bytes = PyLong_AsLongLong(arguments[2])) == -1 && PyErr_Occurred())) {
        return NULL;
    }
    if (known.head_bytes > MOST_HEAD_BYTES || !have_names(&known, settled_ns, &changed) ||
        !leads_to(AT_FDCWD, known.path, 0, known.ids) || fstat(known.lock, &status) != 0 ||
        status.st_size < known.lock_bytes ||
        pread(known.lock, found, (size_t)known.head_bytes, 0) != known.head_bytes ||
        memcmp(found, known.head, (size_t)known.head_bytes) != 0 || fstat(known.data, &status) != 0 ||
        status.st_size < least_bytes) {
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
    {"same_names", (PyCFunction)(void (*)(void))same_names, METH_FASTCALL, same_names_doc},
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
