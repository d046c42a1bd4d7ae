// Turns faults into the classes of coder_lsp.errors, for every module that can have them.

#pragma once

#include <exception>

namespace coder_lsp {

// For nanobind's register_exception_translator; lets every other exception pass.
void translate_fault(const std::exception_ptr& exception, void* payload);

}  // namespace coder_lsp
