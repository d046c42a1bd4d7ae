#include "python_faults.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string_view>

#include "faults.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace coder_lsp {
namespace {

const char* error_class(FaultKind kind) {
    switch (kind) {
        case FaultKind::not_found:
            return "ModelNotFound";
        case FaultKind::corrupt:
            return "ModelCorrupt";
        case FaultKind::unsupported:
            return "ModelUnsupported";
        case FaultKind::out_of_memory:
            return "OutOfMemory";
        case FaultKind::context_overflow:
            return "ContextOverflow";
        case FaultKind::engine:
            break;
    }
    return "EngineError";
}

}  // namespace

void translate_fault(const std::exception_ptr& exception, void* /*payload*/) {
    try {
        std::rethrow_exception(exception);
    } catch (const Fault& fault) {
        const nb::object cls = nb::module_::import_("coder_lsp.errors").attr(error_class(fault.kind()));
        // llama.cpp quotes bytes of the file in its messages: they need not be UTF-8.
        const std::string_view what = fault.what();
        const nb::object message =
            nb::steal(PyUnicode_DecodeUTF8(what.data(), static_cast<Py_ssize_t>(what.size()), "replace"));
        const nb::object error = cls(message, "hint"_a = fault.hint());
        PyErr_SetObject(cls.ptr(), error.ptr());
    }
}

}  // namespace coder_lsp
