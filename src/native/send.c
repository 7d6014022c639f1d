/*
 * Producer.send for nearly all records: a value, maybe a key, and room in the open batch.
 *
 * It does the same as the Python function, on the same objects. src/eventlog/clients/producer/producer.py has that
 * function; src/eventlog/clients/producer/accumulator.py explains how batches are opened and sealed meanwhile. Between
 * the look at the open batch and the last of the three items no Python code runs, so no other thread can intervene:
 * nothing has to be settled afterwards, and a record needs no token.
 */
#include "native.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *weak_references;
    PyObject *slow; /* the Python function */
    PyTypeObject *producer_type;
    PyTypeObject *route_type;
    PyTypeObject *buffer_type;
    PyTypeObject *batch_type;
    PyTypeObject *delivery_type;
    PyObject *key_name;
    PyObject *care_name;
    Py_ssize_t producer_routes;
    Py_ssize_t route_encode_key;
    Py_ssize_t route_encode_value;
    Py_ssize_t route_is_crc32;
    Py_ssize_t route_is_murmur2;
    Py_ssize_t route_buffers;
    Py_ssize_t route_partition_count;
    Py_ssize_t route_partition_of;
    Py_ssize_t route_plain_key;
    Py_ssize_t route_plain_value;
    Py_ssize_t route_small_bytes;
    Py_ssize_t route_sticky;
    Py_ssize_t buffer_batch;
    Py_ssize_t batch_limit;
    Py_ssize_t batch_rows;
} SendMethod;

/* -- sending --------------------------------------------------------------------------------------------------- */

/* The bytes of a key or value, owned: itself or its UTF-8 if its type allows that, else the result of its codec. */
static inline PyObject *
encoded(PyObject *value, PyObject *plain_type, PyObject *encode)
{
    PyObject *made;

    if ((PyObject *)Py_TYPE(value) == plain_type) {
        if (PyBytes_CheckExact(value)) {
            return Py_NewRef(value);
        }
        if (PyUnicode_CheckExact(value) && PyUnicode_IS_ASCII(value)) {
            return PyBytes_FromStringAndSize((const char *)PyUnicode_1BYTE_DATA(value), PyUnicode_GET_LENGTH(value));
        }
    }
    if (encode == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the route has no codec");
        return NULL;
    }
    Py_INCREF(encode); /* it may run any code, which may change the route */
    made = PyObject_CallOneArg(encode, value);
    Py_DECREF(encode);
    return made;
}

/* The partition of a key; -1 with an error set. */
static Py_ssize_t
partition_of(const SendMethod *method, PyObject *route, PyObject *key)
{
    PyObject *count_object = native_slot(route, method->route_partition_count);
    PyObject *function = native_slot(route, method->route_partition_of);
    Py_ssize_t count = PyLong_AsSsize_t(count_object);
    PyObject *chosen;
    Py_ssize_t partition;

    if (count == 1) {
        return 0;
    }
    if (count < 1 || function == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "the route has no partitions");
        }
        return -1;
    }
    if (PyBytes_CheckExact(key)) {
        const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(key);
        if (native_slot(route, method->route_is_crc32) == Py_True) {
            return native_crc32(bytes, PyBytes_GET_SIZE(key)) % (size_t)count;
        }
        if (native_slot(route, method->route_is_murmur2) == Py_True) {
            return native_murmur2(bytes, PyBytes_GET_SIZE(key)) % (size_t)count;
        }
    }
    Py_INCREF(function); /* it may run any code, which may change the route */
    Py_INCREF(count_object);
    chosen = PyObject_CallFunctionObjArgs(function, key, count_object, NULL);
    Py_DECREF(function);
    Py_DECREF(count_object);
    if (chosen == NULL) {
        return -1;
    }
    partition = PyLong_AsSsize_t(chosen);
    Py_DECREF(chosen);
    return partition;
}

/* Puts a record into a batch and returns its delivery; NULL without an error if the Python function has to do it. */
static PyObject *
put(const SendMethod *method, PyObject *route, PyObject *buffer, PyObject *key, PyObject *value)
{
    PyObject *batch, *rows, *limit, *delivery, *place_object;
    Py_ssize_t place, small;

    if (!PyBytes_CheckExact(value) || (key != Py_None && !PyBytes_CheckExact(key))) {
        return NULL;
    }
    small = PyLong_AsSsize_t(native_slot(route, method->route_small_bytes));
    if (PyBytes_GET_SIZE(value) >= small || (key != Py_None && PyBytes_GET_SIZE(key) >= small)) {
        return NULL;
    }
    /* First, since making it may run the garbage collector, and so any code; nothing after it does. */
    delivery = method->delivery_type->tp_alloc(method->delivery_type, 2);
    if (delivery == NULL) {
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030e0000
    ((PyTupleObject *)delivery)->ob_hash = -1; /* not known yet; 0 would count as known */
#endif
    batch = native_slot(buffer, method->buffer_batch);
    if (batch == NULL || !PyObject_TypeCheck(batch, method->batch_type)) {
        goto elsewhere;
    }
    rows = native_slot(batch, method->batch_rows);
    limit = native_slot(batch, method->batch_limit);
    if (rows == NULL || !PyList_CheckExact(rows) || limit == NULL || !PyLong_CheckExact(limit)) {
        goto elsewhere;
    }
    place = PyList_GET_SIZE(rows);
    if (place >= PyLong_AsSsize_t(limit)) {
        goto elsewhere;
    }
    place_object = PyLong_FromSsize_t(place);
    if (place_object == NULL) {
        goto elsewhere;
    }
    PyTuple_SET_ITEM(delivery, 0, Py_NewRef(batch));
    PyTuple_SET_ITEM(delivery, 1, place_object);
    if (PyList_Append(rows, key) == 0 && PyList_Append(rows, value) == 0 && PyList_Append(rows, Py_None) == 0) {
        /* A program keeps many, and each full collection would walk over all of them. A circle can go through the
           callbacks of the batch alone, which are let go when they are called. */
        PyObject_GC_UnTrack(delivery);
        return delivery;
    }
    (void)PyList_SetSlice(rows, place, PyList_GET_SIZE(rows), NULL); /* shortening a list takes no memory */
elsewhere:
    Py_DECREF(delivery);
    return NULL;
}

/* Sends a record by a route, as the Python function does. */
static PyObject *
send_by(const SendMethod *method, PyObject *producer, PyObject *route, PyObject *value, PyObject *key)
{
    PyObject *key_bytes = NULL, *buffers, *buffer = NULL, *delivery = NULL;
    PyObject *value_bytes = encoded(
        value, native_slot(route, method->route_plain_value), native_slot(route, method->route_encode_value));
    Py_ssize_t partition;

    if (value_bytes == NULL) {
        return NULL;
    }
    if (key == Py_None) {
        key_bytes = Py_NewRef(key);
        partition = PyLong_AsSsize_t(native_slot(route, method->route_sticky));
    }
    else {
        key_bytes = encoded(
            key, native_slot(route, method->route_plain_key), native_slot(route, method->route_encode_key));
        partition = key_bytes == NULL ? -1 : partition_of(method, route, key_bytes);
    }
    if (PyErr_Occurred()) {
        goto done;
    }
    buffers = native_slot(route, method->route_buffers);
    if (buffers == NULL || !PyList_CheckExact(buffers) || partition < 0 || partition >= PyList_GET_SIZE(buffers)) {
        PyErr_SetString(PyExc_IndexError, "list index out of range");
        goto done;
    }
    buffer = Py_NewRef(PyList_GET_ITEM(buffers, partition));
    if (Py_IS_TYPE(buffer, method->buffer_type)) {
        delivery = put(method, route, buffer, key_bytes, value_bytes);
    }
    if (delivery == NULL && !PyErr_Occurred()) {
        delivery = PyObject_CallMethodObjArgs(producer, method->care_name, route, buffer, key_bytes, value_bytes,
                                              Py_None, Py_None, Py_None, Py_None, NULL);
    }
done:
    Py_XDECREF(buffer);
    Py_XDECREF(key_bytes);
    Py_DECREF(value_bytes);
    return delivery;
}

/* The route of a topic that was sent to before, owned; NULL without an error if the Python function has to look. */
static inline PyObject *
route_to(const SendMethod *method, PyObject *producer, PyObject *topic)
{
    PyObject *routes = native_slot(producer, method->producer_routes);
    PyObject *route;

    if (routes == NULL || !PyDict_CheckExact(routes)) {
        return NULL;
    }
    Py_INCREF(routes); /* comparing topics may run any code, which may forget the routes; a codec, which the route */
    route = PyDict_GetItemWithError(routes, topic);
    if (route == NULL) {
        /* As in Python: a KeyError of the topic's own counts as one of the dict; the function reports a bad hash. */
        if (PyErr_Occurred() && (PyErr_ExceptionMatches(PyExc_KeyError) || PyErr_ExceptionMatches(PyExc_TypeError))) {
            PyErr_Clear();
        }
    }
    else {
        route = Py_IS_TYPE(route, method->route_type) ? Py_NewRef(route) : NULL;
    }
    Py_DECREF(routes);
    return route;
}

static PyObject *
send(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    SendMethod *method = (SendMethod *)self;
    int is_plain = PyVectorcall_NARGS(flags) == 3 &&
                   (names == NULL || (PyTuple_GET_SIZE(names) == 1 && PyTuple_GET_ITEM(names, 0) == method->key_name));

    if (is_plain && PyObject_TypeCheck(arguments[0], method->producer_type)) {
        PyObject *route = route_to(method, arguments[0], arguments[1]);
        if (route != NULL) {
            PyObject *delivery =
                send_by(method, arguments[0], route, arguments[2], names == NULL ? Py_None : arguments[3]);
            Py_DECREF(route);
            return delivery;
        }
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    return PyObject_Vectorcall(method->slow, arguments, flags, names);
}

/* -- the type -------------------------------------------------------------------------------------------------- */

/* The slots that we use: class (as our argument is called) and name, and where SendMethod keeps class and offset. */
static const struct {
    const char *name;
    size_t type;
    size_t offset;
} wanted[] = {
    {"producer._routes", offsetof(SendMethod, producer_type), offsetof(SendMethod, producer_routes)},
    {"route.encode_key", offsetof(SendMethod, route_type), offsetof(SendMethod, route_encode_key)},
    {"route.encode_value", offsetof(SendMethod, route_type), offsetof(SendMethod, route_encode_value)},
    {"route.is_crc32", offsetof(SendMethod, route_type), offsetof(SendMethod, route_is_crc32)},
    {"route.is_murmur2", offsetof(SendMethod, route_type), offsetof(SendMethod, route_is_murmur2)},
    {"route.buffers", offsetof(SendMethod, route_type), offsetof(SendMethod, route_buffers)},
    {"route.partition_count", offsetof(SendMethod, route_type), offsetof(SendMethod, route_partition_count)},
    {"route.partition_of", offsetof(SendMethod, route_type), offsetof(SendMethod, route_partition_of)},
    {"route.plain_key", offsetof(SendMethod, route_type), offsetof(SendMethod, route_plain_key)},
    {"route.plain_value", offsetof(SendMethod, route_type), offsetof(SendMethod, route_plain_value)},
    {"route.small_bytes", offsetof(SendMethod, route_type), offsetof(SendMethod, route_small_bytes)},
    {"route.sticky", offsetof(SendMethod, route_type), offsetof(SendMethod, route_sticky)},
    {"buffer.batch", offsetof(SendMethod, buffer_type), offsetof(SendMethod, buffer_batch)},
    {"batch.limit", offsetof(SendMethod, batch_type), offsetof(SendMethod, batch_limit)},
    {"batch.rows", offsetof(SendMethod, batch_type), offsetof(SendMethod, batch_rows)},
};

static int
find_slots(SendMethod *method)
{
    for (size_t index = 0; index < Py_ARRAY_LENGTH(wanted); index++) {
        PyTypeObject *type = *(PyTypeObject **)((char *)method + wanted[index].type);
        Py_ssize_t offset = native_slot_offset(type, strchr(wanted[index].name, '.') + 1);
        if (offset < 0) {
            return -1;
        }
        *(Py_ssize_t *)((char *)method + wanted[index].offset) = offset;
    }
    return 0;
}

static PyObject *
send_method_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"slow", "producer", "route", "buffer", "batch", "delivery", NULL};
    PyObject *slow, *producer, *route, *buffer, *batch, *delivery;
    SendMethod *method;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO!O!O!O!O!:SendMethod", names, &slow, &PyType_Type,
                                     &producer, &PyType_Type, &route, &PyType_Type, &buffer, &PyType_Type, &batch,
                                     &PyType_Type, &delivery)) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)delivery, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "a delivery is a tuple");
        return NULL;
    }
    method = (SendMethod *)type->tp_alloc(type, 0);
    if (method == NULL) {
        return NULL;
    }
    method->call = send;
    method->slow = Py_NewRef(slow);
    method->producer_type = (PyTypeObject *)Py_NewRef(producer);
    method->route_type = (PyTypeObject *)Py_NewRef(route);
    method->buffer_type = (PyTypeObject *)Py_NewRef(buffer);
    method->batch_type = (PyTypeObject *)Py_NewRef(batch);
    method->delivery_type = (PyTypeObject *)Py_NewRef(delivery);
    method->key_name = PyUnicode_InternFromString("key");
    method->care_name = PyUnicode_InternFromString("_send_with_care");
    if (method->key_name == NULL || method->care_name == NULL || find_slots(method) < 0) {
        Py_DECREF(method);
        return NULL;
    }
    return (PyObject *)method;
}

/* No tp_clear: the classes break every reference cycle, and we stay complete as long as we can be called. */
static int
send_method_traverse(PyObject *self, visitproc visit, void *arg)
{
    SendMethod *method = (SendMethod *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(method->slow);
    Py_VISIT(method->producer_type);
    Py_VISIT(method->route_type);
    Py_VISIT(method->buffer_type);
    Py_VISIT(method->batch_type);
    Py_VISIT(method->delivery_type);
    return 0;
}

static void
send_method_dealloc(PyObject *self)
{
    SendMethod *method = (SendMethod *)self;
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (method->weak_references != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    Py_XDECREF(method->slow);
    Py_XDECREF(method->producer_type);
    Py_XDECREF(method->route_type);
    Py_XDECREF(method->buffer_type);
    Py_XDECREF(method->batch_type);
    Py_XDECREF(method->delivery_type);
    Py_XDECREF(method->key_name);
    Py_XDECREF(method->care_name);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
send_method_bind(PyObject *self, PyObject *producer, PyObject *Py_UNUSED(type))
{
    return producer == NULL || producer == Py_None ? Py_NewRef(self) : PyMethod_New(self, producer);
}

/* Name, signature and module are those of the Python function. */
static PyObject *
send_method_getattr(PyObject *self, PyObject *name)
{
    PyObject *value;

    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__module__") == 0) {
        return PyObject_GetAttr(((SendMethod *)self)->slow, name);
    }
    value = PyObject_GenericGetAttr(self, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_GetAttr(((SendMethod *)self)->slow, name);
    }
    return value;
}

static PyObject *
send_method_doc(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((SendMethod *)self)->slow, "__doc__");
}

static PyObject *
send_method_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<accelerator of %R>", ((SendMethod *)self)->slow);
}

/* For isinstance() it is a function, and so for inspect and unittest.mock, which then ask for its attributes. */
static PyObject *
send_method_class(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)&PyFunction_Type);
}

/* Copied and pickled by name, like a function. */
static PyObject *
send_method_reduce(PyObject *self, PyObject *Py_UNUSED(arguments))
{
    /* `__qualname__` is the name that users know; the code has the one under which the module has us. */
    PyObject *code = PyObject_GetAttrString(((SendMethod *)self)->slow, "__code__");
    PyObject *name = code == NULL ? NULL : PyObject_GetAttrString(code, "co_qualname");

    Py_XDECREF(code);
    return name;
}

static PyGetSetDef send_method_getset[] = {
    {"__class__", send_method_class, NULL, NULL, NULL},
    {"__doc__", send_method_doc, NULL, NULL, NULL},
    {0},
};

static PyMethodDef send_method_methods[] = {
    {"__reduce__", send_method_reduce, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef send_method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(SendMethod, call), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SendMethod, weak_references), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(SendMethod, slow), READONLY, NULL},
    {0},
};

static PyType_Slot send_method_slots[] = {
    {Py_tp_new, send_method_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, send_method_bind},
    {Py_tp_getattro, send_method_getattr},
    {Py_tp_repr, send_method_repr},
    {Py_tp_traverse, send_method_traverse},
    {Py_tp_dealloc, send_method_dealloc},
    {Py_tp_getset, send_method_getset},
    {Py_tp_methods, send_method_methods},
    {Py_tp_members, send_method_members},
    {0, NULL},
};

static PyType_Spec send_method_spec = {
    .name = "eventlog._native.SendMethod",
    .basicsize = sizeof(SendMethod),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = send_method_slots,
};

int
native_add_send_method(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &send_method_spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    const char *names[Py_ARRAY_LENGTH(wanted)];

    Py_XDECREF(type);
    for (size_t index = 0; index < Py_ARRAY_LENGTH(wanted); index++) {
        names[index] = wanted[index].name;
    }
    return result < 0 ? result : native_declare(module, "SendMethod", names, Py_ARRAY_LENGTH(wanted));
}
