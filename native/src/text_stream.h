// The text of one generation: from token bytes to whole code points, stop strings cut off, forced bytes left out.
//
// Knows bytes and strings only: no tokens, no model. Tested through the engine with models that say what they are told.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace coder_lsp {

// Appends `bytes` to `out` as valid UTF-8: each maximal invalid part becomes one U+FFFD, as Python's "replace" does.
// Returns how many bytes were used; an incomplete character at the end is left unless `final`.
std::size_t append_utf8(std::string& out, std::string_view bytes, bool final);

// All of `bytes` so.
std::string valid_utf8(std::string_view bytes);

class TextStream {
  public:
    // `forced` bytes come first and are not part of the text; `stops` end the text before themselves.
    TextStream(std::string forced, std::vector<std::string> stops);

    // Forced bytes not generated yet: the next token must agree with them.
    std::string_view owed() const { return std::string_view(forced_).substr(paid_); }

    // Adds the bytes of a token. True if a stop string was completed: the text is cut before it.
    bool append(std::string_view bytes);

    // Text that is certain and was not taken yet: whole code points, and nothing that may turn out to begin a stop
    // string. With `final` everything that is left.
    std::string take(bool final);

    // Cuts behind the last whole line, its line end left out. False (and no cut) if nothing but blanks would be left.
    bool cut_to_whole_lines();

    // The same, but of what stands before the byte at which a line starts.
    bool cut_to_lines_before(std::size_t line_start);

    // Where the line begins in which the text ends, in bytes.
    std::size_t line_start() const;

    // Forgets what was not taken: the text then is what the reader saw.
    void drop_untaken() { text_.resize(taken_); }

    // All text so far as valid UTF-8.
    std::string text() const { return valid_utf8(text_); }

  private:
    std::string forced_;
    std::size_t paid_ = 0;  // bytes of forced_ that were generated
    std::vector<std::string> stops_;
    std::size_t longest_stop_ = 0;
    std::string text_;       // raw bytes after the forced ones
    std::size_t taken_ = 0;  // bytes of text_ handed out by take()
};

}  // namespace coder_lsp
