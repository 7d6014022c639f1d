/*
 * The records of an `async for` loop. Asking for one that is at hand makes no coroutine and no other object: what the
 * loop awaits is a turn, of which a stream has one that it gives out again and again. A turn takes its record when it
 * is awaited, so one that is given up takes none.
 */
#include "native.h"

typedef struct {
    PyObject_HEAD
    PyObject *next_chunk; /* a coroutine function that returns the next records; NULL once the stream is closed */
    PyObject *records;    /* an iterator; NULL before the first chunk */
    PyObject *spare;      /* a turn to give out again, once nobody else has it; NULL after one that had to wait */
    PyTypeObject *turn_type;
} Stream;

enum { IS_NEW, IS_WAITING, IS_OVER };

typedef struct {
    PyObject_HEAD
    Stream *stream;      /* NULL when it is over */
    PyObject *coroutine; /* what it waits for; NULL unless it is waiting */
    int state;
    int is_closing; /* whether it closes the stream, and takes nothing */
} Turn;

/* -- a turn ---------------------------------------------------------------------------------------------------- */

/* Ends a turn; whoever calls it holds the turn. */
static void
end(Turn *turn)
{
    turn->state = IS_OVER;
    Py_CLEAR(turn->coroutine);
    Py_CLEAR(turn->stream);
}

/* The next record at hand, owned; NULL without an error if there is none. */
static inline PyObject *
take(const Stream *stream)
{
    PyObject *record, *records = stream->records;

    if (records == NULL) {
        return NULL;
    }
    Py_INCREF(records); /* an iterator may run any code, which may close the stream */
    record = Py_TYPE(records)->tp_iternext(records);
    Py_DECREF(records);
    if (record == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear();
    }
    return record;
}

/* Begins to wait for the next chunk. */
static int
begin(Turn *turn, Stream *stream)
{
    PyObject *function = stream->next_chunk, *coroutine;

    if (function == NULL) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return -1;
    }
    Py_INCREF(function);
    coroutine = PyObject_CallNoArgs(function);
    Py_DECREF(function);
    if (coroutine == NULL) {
        return -1;
    }
    if (!PyCoro_CheckExact(coroutine)) {
        Py_DECREF(coroutine);
        PyErr_SetString(PyExc_TypeError, "the next chunk of a stream comes from a coroutine");
        return -1;
    }
    turn->state = IS_WAITING;
    Py_XSETREF(turn->coroutine, coroutine);
    if (stream->spare == (PyObject *)turn) { /* from here on its holder's death is that of the coroutine */
        Py_CLEAR(stream->spare);
    }
    return 0;
}

/* Goes on with a chunk, whose reference it takes over, unless the stream was closed meanwhile. */
static int
adopt(Turn *turn, Stream *stream, PyObject *records)
{
    turn->state = IS_NEW;
    Py_CLEAR(turn->coroutine);
    if (!PyIter_Check(records)) {
        Py_DECREF(records);
        PyErr_SetString(PyExc_TypeError, "a chunk of a stream is an iterator");
        return -1;
    }
    if (stream->next_chunk == NULL) {
        Py_DECREF(records);
    }
    else {
        Py_XSETREF(stream->records, records);
    }
    return 0;
}

/* Goes on until there is a record, or something to wait for. */
static PySendResult
go_on(Turn *turn, Stream *stream, PyObject *argument, PyObject **result)
{
    PyObject *coroutine;
    PySendResult outcome;

    for (;;) {
        if (turn->state == IS_NEW) {
            *result = take(stream);
            if (*result != NULL) {
                end(turn);
                return PYGEN_RETURN;
            }
            if (PyErr_Occurred() || begin(turn, stream) < 0) {
                break;
            }
            argument = Py_None;
        }
        coroutine = Py_NewRef(turn->coroutine); /* it may end us */
        outcome = PyIter_Send(coroutine, argument, result);
        Py_DECREF(coroutine);
        if (outcome == PYGEN_NEXT) {
            return outcome;
        }
        if (outcome == PYGEN_ERROR || adopt(turn, stream, *result) < 0) {
            break;
        }
    }
    end(turn);
    *result = NULL;
    return PYGEN_ERROR;
}

static PySendResult
turn_send(PyObject *self, PyObject *argument, PyObject **result)
{
    Turn *turn = (Turn *)self;
    Stream *stream;
    PySendResult outcome;

    *result = NULL;
    if (turn->state == IS_OVER || turn->stream == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    if (turn->state == IS_NEW && argument != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    stream = (Stream *)Py_NewRef((PyObject *)turn->stream);
    if (turn->is_closing) {
        Py_CLEAR(stream->next_chunk);
        Py_CLEAR(stream->records);
        end(turn);
        *result = Py_NewRef(Py_None);
        outcome = PYGEN_RETURN;
    }
    else {
        outcome = go_on(turn, stream, argument, result);
    }
    Py_DECREF(stream);
    return outcome;
}

PyObject *
native_as_iteration(PySendResult outcome, PyObject *value)
{
    PyObject *stop;

    if (outcome != PYGEN_RETURN) {
        return value;
    }
    /* Given to the class itself, a tuple would be its arguments, and an error another one. */
    stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    Py_DECREF(value);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
turn_next(PyObject *self)
{
    PyObject *value;
    PySendResult outcome = turn_send(self, Py_None, &value);

    return native_as_iteration(outcome, value);
}

static PyObject *
turn_send_method(PyObject *self, PyObject *argument)
{
    PyObject *value;
    PySendResult outcome = turn_send(self, argument, &value);

    return native_as_iteration(outcome, value);
}

/* What a coroutine has returned that raised StopIteration, owned. */
static PyObject *
returned(void)
{
    PyObject *type, *stop, *traceback, *value;

    PyErr_Fetch(&type, &stop, &traceback);
    PyErr_NormalizeException(&type, &stop, &traceback);
    value = PyObject_GetAttrString(stop, "value");
    Py_XDECREF(type);
    Py_XDECREF(stop);
    Py_XDECREF(traceback);
    return value;
}

void
native_raise(PyObject *arguments)
{
    PyObject *type, *value = Py_None, *traceback = Py_None;

    if (!PyArg_UnpackTuple(arguments, "throw", 1, 3, &type, &value, &traceback)) {
        return;
    }
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    }
    else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
    }
}

static PyObject *
turn_throw(PyObject *self, PyObject *arguments)
{
    Turn *turn = (Turn *)self;
    Stream *stream;
    PyObject *coroutine, *method, *value;
    PySendResult outcome = PYGEN_NEXT;

    if (turn->state != IS_WAITING || turn->stream == NULL) {
        if (turn->state == IS_OVER) {
            PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        }
        else {
            end(turn);
            native_raise(arguments);
        }
        return NULL;
    }
    stream = (Stream *)Py_NewRef((PyObject *)turn->stream);
    coroutine = Py_NewRef(turn->coroutine);
    method = PyObject_GetAttrString(coroutine, "throw");
    value = method == NULL ? NULL : PyObject_Call(method, arguments, NULL);
    Py_XDECREF(method);
    Py_DECREF(coroutine);
    if (value == NULL) {
        value = PyErr_ExceptionMatches(PyExc_StopIteration) ? returned() : NULL;
        if (value == NULL || adopt(turn, stream, value) < 0) {
            end(turn);
            value = NULL;
        }
        else {
            outcome = go_on(turn, stream, Py_None, &value);
        }
    }
    Py_DECREF(stream);
    return native_as_iteration(outcome, value);
}

static PyObject *
turn_close(PyObject *self, PyObject *Py_UNUSED(arguments))
{
    Turn *turn = (Turn *)self;
    PyObject *result, *coroutine = Py_XNewRef(turn->coroutine);

    if (coroutine == NULL) {
        end(turn);
        Py_RETURN_NONE;
    }
    result = PyObject_CallMethod(coroutine, "close", NULL);
    Py_DECREF(coroutine);
    end(turn);
    return result;
}

static PyObject *
new_turn(Stream *stream, int is_closing)
{
    Turn *turn = (Turn *)stream->turn_type->tp_alloc(stream->turn_type, 0);

    if (turn != NULL) {
        turn->stream = (Stream *)Py_NewRef((PyObject *)stream);
        turn->is_closing = is_closing;
        turn->state = IS_NEW;
    }
    return (PyObject *)turn;
}

static int
turn_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((Turn *)self)->stream);
    Py_VISIT(((Turn *)self)->coroutine);
    return 0;
}

static int
turn_clear(PyObject *self)
{
    end((Turn *)self);
    return 0;
}

static void
turn_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    end((Turn *)self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef turn_methods[] = {
    {"send", turn_send_method, METH_O, NULL},
    {"throw", turn_throw, METH_VARARGS, NULL},
    {"close", turn_close, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot turn_slots[] = {
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, turn_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, turn_next},
    {Py_tp_methods, turn_methods},
    {Py_tp_traverse, turn_traverse},
    {Py_tp_clear, turn_clear},
    {Py_tp_dealloc, turn_dealloc},
    {0, NULL},
};

static PyType_Spec turn_spec = {
    .name = "eventlog._native._RecordTurn",
    .basicsize = sizeof(Turn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = turn_slots,
};

/* -- a stream -------------------------------------------------------------------------------------------------- */

static PyObject *
stream_anext(PyObject *self)
{
    Stream *stream = (Stream *)self;
    Turn *spare = (Turn *)stream->spare;
    PyObject *turn;

    if (spare != NULL && Py_REFCNT(spare) == 1) {
        if (spare->stream == NULL) {
            spare->stream = (Stream *)Py_NewRef(self);
        }
        spare->state = IS_NEW;
        return Py_NewRef((PyObject *)spare);
    }
    turn = new_turn(stream, 0);
    if (turn != NULL) {
        Py_XSETREF(stream->spare, Py_NewRef(turn));
    }
    return turn;
}

static PyObject *
stream_aclose(PyObject *self, PyObject *Py_UNUSED(arguments))
{
    return new_turn((Stream *)self, 1);
}

static PyObject *
stream_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", NULL};
    PyObject *next_chunk, *turn_type;
    Stream *stream;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O:RecordStream", names, &next_chunk)) {
        return NULL;
    }
    turn_type = PyObject_GetAttrString(PyType_GetModule(type), "_RecordTurn");
    if (turn_type == NULL) {
        return NULL;
    }
    if (!PyType_Check(turn_type) || ((PyTypeObject *)turn_type)->tp_dealloc != turn_dealloc) {
        Py_DECREF(turn_type);
        PyErr_SetString(PyExc_TypeError, "the turns of a stream have a class of their own");
        return NULL;
    }
    stream = (Stream *)type->tp_alloc(type, 0);
    if (stream == NULL) {
        Py_DECREF(turn_type);
        return NULL;
    }
    stream->turn_type = (PyTypeObject *)turn_type;
    stream->next_chunk = Py_NewRef(next_chunk);
    return (PyObject *)stream;
}

static int
stream_traverse(PyObject *self, visitproc visit, void *arg)
{
    Stream *stream = (Stream *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(stream->next_chunk);
    Py_VISIT(stream->records);
    Py_VISIT(stream->spare);
    Py_VISIT(stream->turn_type);
    return 0;
}

/* What remains is what a stream needs that is asked for a record: it has ended. */
static int
stream_clear(PyObject *self)
{
    Stream *stream = (Stream *)self;

    Py_CLEAR(stream->next_chunk);
    Py_CLEAR(stream->records);
    Py_CLEAR(stream->spare);
    return 0;
}

static void
stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    stream_clear(self);
    Py_XDECREF(((Stream *)self)->turn_type);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
    {"aclose", stream_aclose, METH_NOARGS, "End the stream, when it is awaited."},
    {0},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "RecordStream(next_chunk, /)\n--\n\nThe records of an `async for` loop, chunk by chunk."},
    {Py_tp_new, stream_new},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, stream_anext},
    {Py_tp_methods, stream_methods},
    {Py_tp_traverse, stream_traverse},
    {Py_tp_clear, stream_clear},
    {Py_tp_dealloc, stream_dealloc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "eventlog._native.RecordStream",
    .basicsize = sizeof(Stream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stream_slots,
};

int
native_add_stream(PyObject *module)
{
    static const char *const names[] = {"next_chunk"};
    PyObject *stream_type = PyType_FromModuleAndSpec(module, &stream_spec, NULL);
    PyObject *turn_type = PyType_FromModuleAndSpec(module, &turn_spec, NULL);
    int result = -1;

    if (stream_type != NULL && turn_type != NULL && PyModule_AddType(module, (PyTypeObject *)stream_type) == 0) {
        result = PyModule_AddType(module, (PyTypeObject *)turn_type);
    }
    Py_XDECREF(stream_type);
    Py_XDECREF(turn_type);
    return result < 0 ? result : native_declare(module, "RecordStream", names, 1);
}
