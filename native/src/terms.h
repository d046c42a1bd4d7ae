// From source text to the terms it is found by: identifiers as written and their lower-cased words. Knows no Python.
//
// An identifier is a longest run of letters, digits, underscores and characters beyond ASCII that are no punctuation.
// Runs that begin with a digit (numbers) and runs of more than 64 bytes (base64, hashes) give nothing. `HTTPServer_2nd`
// gives itself, then `http`, `server` and `nd`: words end at underscores, between lower and upper case, between letters
// and digits, and before the last capital of several; a word of one ASCII character is no term. What is one lower-case
// word already gives only itself. Only ASCII letters change case: everything beyond counts as lower case.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace coder_lsp {

// Each view holds during the call only. Bytes that are not UTF-8 separate terms.
using TermSink = std::function<void(std::string_view)>;

void for_each_term(std::string_view text, const TermSink& sink);

// Identifiers as `place.IDENTIFIER` of the package finds them: whole, of two characters and more and any length, and
// without the digits that a run begins with.
void for_each_name(std::string_view text, const TermSink& sink);

}  // namespace coder_lsp
