/* The type of all makers, except its name, and the places of the slots that they fill. */
#include "maker.h"

PyObject *
maker_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords, vectorcallfunc call, const char *const *names,
          int count)
{
    static char *keyword_names[] = {"record_type", NULL};
    PyObject *made;
    Maker *maker;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!", keyword_names, &PyType_Type, &made)) {
        return NULL;
    }
    maker = (Maker *)type->tp_alloc(type, 0);
    if (maker == NULL) {
        return NULL;
    }
    maker->call = call;
    maker->made = (PyTypeObject *)Py_NewRef(made);
    for (int field = 0; field < count; field++) {
        maker->offsets[field] = native_slot_offset(maker->made, names[field]);
        if (maker->offsets[field] < 0) {
            Py_DECREF(maker);
            return NULL;
        }
    }
    return (PyObject *)maker;
}

/* No tp_clear: the type breaks every reference cycle, and a maker stays complete as long as it can be called. */
static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Maker *)self)->made);
    return 0;
}

static void
dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Maker *)self)->made);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Maker, call), READONLY, NULL},
    {0},
};

int
maker_add(PyObject *module, const char *name, const char *doc, newfunc new, const char *const *names, int count)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_new, new},
        {Py_tp_call, PyVectorcall_Call},
        {Py_tp_traverse, traverse},
        {Py_tp_dealloc, dealloc},
        {Py_tp_members, members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(Maker),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return result < 0 ? result : native_declare(module, strrchr(name, '.') + 1, names, count);
}
