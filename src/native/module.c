/* The module eventlog._native; src/eventlog/accelerators.py has the table of its functions. */
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

int
native_declare(PyObject *module, const char *name, const char *const *slots, int count)
{
    PyObject *ties = PyObject_GetAttrString(module, "RELIES_ON"), *names = PyTuple_New(count);
    PyObject *blank = PyUnicode_FromString(" "), *text = NULL;
    int result = -1;

    for (int index = 0; names != NULL && index < count; index++) {
        PyObject *slot = PyUnicode_FromString(slots[index]);
        if (slot == NULL) {
            Py_CLEAR(names);
            break;
        }
        PyTuple_SET_ITEM(names, index, slot);
    }
    if (ties != NULL && names != NULL && blank != NULL) {
        text = PyUnicode_Join(blank, names);
        result = text == NULL ? -1 : PyDict_SetItemString(ties, name, text);
    }
    Py_XDECREF(text);
    Py_XDECREF(blank);
    Py_XDECREF(names);
    Py_XDECREF(ties);
    return result;
}

static int
fill(PyObject *module)
{
    int (*const add[])(PyObject *) = {
        native_add_batch_maker, native_add_checksums, native_add_columns, native_add_event_maker, native_add_files,
        native_add_gate,        native_add_keys,      native_add_record_maker, native_add_send_method,
        native_add_stream,      native_add_outcome_maker, native_add_kafka,
        native_add_kafka_builder, native_add_readers,
    };

    PyObject *ties = PyDict_New();
    int result = ties == NULL ? -1 : PyModule_AddObjectRef(module, "RELIES_ON", ties);

    Py_XDECREF(ties);
    for (size_t index = 0; result == 0 && index < Py_ARRAY_LENGTH(add); index++) {
        result = add[index](module);
    }
    return result;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "eventlog._native",
    .m_doc = "The accelerators of eventlog; each has a Python function that does the same.",
    .m_size = 0,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
