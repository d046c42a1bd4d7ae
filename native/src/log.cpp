#include "log.h"

#include <llama.h>

#include <deque>
#include <mutex>
#include <string_view>

namespace coder_lsp {
namespace {

constexpr std::size_t kept_errors = 8;

// One log for the process, as llama.cpp itself has only one.
struct ErrorLog {
    std::mutex mutex;
    std::deque<std::string> lines;
    bool continues = false;  // the last message was an error without a line end
};

ErrorLog& error_log() {
    static ErrorLog log;
    return log;
}

void receive(ggml_log_level level, const char* text, void* /*user*/) {
    ErrorLog& log = error_log();
    const std::lock_guard guard(log.mutex);
    std::string_view line(text);
    const bool continuation = level == GGML_LOG_LEVEL_CONT;
    if (continuation ? !log.continues : level != GGML_LOG_LEVEL_ERROR) {
        if (!continuation) log.continues = false;
        return;
    }
    const bool ended = !line.empty() && line.back() == '\n';
    if (ended) line.remove_suffix(1);
    if (continuation && !log.lines.empty()) {
        log.lines.back() += line;
    } else {
        log.lines.emplace_back(line);
    }
    log.continues = !ended;
    if (log.lines.size() > kept_errors) log.lines.pop_front();
}

}  // namespace

void initialise_llama() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(receive, nullptr);
        llama_backend_init();
    });
}

void forget_errors() {
    ErrorLog& log = error_log();
    const std::lock_guard guard(log.mutex);
    log.lines.clear();
    log.continues = false;
}

std::string recent_errors() {
    ErrorLog& log = error_log();
    const std::lock_guard guard(log.mutex);
    std::string joined;
    for (const std::string& line : log.lines) {
        if (!joined.empty()) joined += "; ";
        joined += line;
    }
    return joined;
}

}  // namespace coder_lsp
