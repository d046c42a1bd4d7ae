// What can go wrong in the native engine, as one exception type with a kind.
//
// The kinds mirror coder_lsp/errors.py; bindings.cpp turns each into its Python class. Cancellation is no fault.

#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace coder_lsp {

enum class FaultKind {
    not_found,         // no such file
    corrupt,           // not a GGUF, or truncated
    unsupported,       // architecture, vocabulary or adapter that this build cannot run
    out_of_memory,     // the model or its cache does not fit
    context_overflow,  // more prompt tokens than a sequence holds
    engine,            // everything else: closed, misuse, llama.cpp failed
};

class Fault : public std::runtime_error {
  public:
    Fault(FaultKind kind, const std::string& message, std::string hint = "")
        : std::runtime_error(message), kind_(kind), hint_(std::move(hint)) {}

    FaultKind kind() const { return kind_; }
    const std::string& hint() const { return hint_; }

  private:
    FaultKind kind_;
    std::string hint_;  // next step of the user, may be empty
};

}  // namespace coder_lsp
