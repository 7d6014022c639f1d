/* The module eventlog._native; src/eventlog/native.py says what it is for. */
#include "native.h"

Py_ssize_t
native_slot_offset(PyTypeObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)type, name);
    Py_ssize_t offset = -1;

    if (descriptor == NULL) {
        return -1;
    }
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        if (member->type == T_OBJECT_EX && !(member->flags & READONLY) &&
            PyType_IsSubtype(type, PyDescr_TYPE(descriptor))) {
            offset = member->offset;
        }
    }
    Py_DECREF(descriptor);
    if (offset < 0) {
        PyErr_Format(PyExc_TypeError, "%s.%s is no slot", type->tp_name, name);
    }
    return offset;
}

/* Raised with every change of what the functions take, give or do; src/eventlog/native.py uses this one alone. */
enum { REVISION = 1 };

static int
fill(PyObject *module)
{
    int (*const add[])(PyObject *) = {
        native_add_batch_maker, native_add_columns,      native_add_event_maker,
        native_add_keys,        native_add_record_maker, native_add_send_method,
    };

    for (size_t index = 0; index < Py_ARRAY_LENGTH(add); index++) {
        if (add[index](module) < 0) {
            return -1;
        }
    }
    return PyModule_AddIntConstant(module, "REVISION", REVISION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "eventlog._native",
    .m_doc = "The hottest paths of eventlog in C; each has a twin in Python.",
    .m_size = 0,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
