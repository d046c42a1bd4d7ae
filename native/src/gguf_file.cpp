#include "gguf_file.h"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "faults.h"
#include "log.h"
#include "text_stream.h"

namespace coder_lsp {
namespace {

struct GgufFree {
    void operator()(gguf_context* context) const { gguf_free(context); }
};

std::optional<std::int64_t> element(gguf_type type, const void* data, std::size_t index) {
    const auto read = [&]<typename T>(T value) {
        std::memcpy(&value, static_cast<const char*>(data) + index * sizeof value, sizeof value);
        return static_cast<std::int64_t>(value);
    };
    switch (type) {
        case GGUF_TYPE_UINT8:
            return read(std::uint8_t{});
        case GGUF_TYPE_INT8:
            return read(std::int8_t{});
        case GGUF_TYPE_UINT16:
            return read(std::uint16_t{});
        case GGUF_TYPE_INT16:
            return read(std::int16_t{});
        case GGUF_TYPE_UINT32:
            return read(std::uint32_t{});
        case GGUF_TYPE_INT32:
            return read(std::int32_t{});
        case GGUF_TYPE_UINT64:
            return read(std::uint64_t{});
        case GGUF_TYPE_INT64:
            return read(std::int64_t{});
        case GGUF_TYPE_BOOL:
            return read(std::uint8_t{});
        default:
            return std::nullopt;
    }
}

void collect_metadata(const gguf_context* gguf, GgufFacts& facts) {
    // Per-layer arrays (heads of each layer) are short; the arrays of a vocabulary are not looked at.
    constexpr std::size_t longest_array = 4096;
    for (std::int64_t id = 0; id < gguf_get_n_kv(gguf); ++id) {
        const std::string key = valid_utf8(gguf_get_key(gguf, id));
        const gguf_type type = gguf_get_kv_type(gguf, id);
        if (type == GGUF_TYPE_STRING) {
            facts.texts[key] = valid_utf8(gguf_get_val_str(gguf, id));
        } else if (type == GGUF_TYPE_ARRAY) {
            const gguf_type of = gguf_get_arr_type(gguf, id);
            const std::size_t count = gguf_get_arr_n(gguf, id);
            if (of == GGUF_TYPE_STRING || count == 0 || count > longest_array) continue;
            std::optional<std::int64_t> largest;
            for (std::size_t i = 0; i < count; ++i) {
                const auto value = element(of, gguf_get_arr_data(gguf, id), i);
                if (value) largest = std::max(largest.value_or(*value), *value);
            }
            if (largest) facts.numbers[key] = *largest;
        } else if (const auto value = element(type, gguf_get_val_data(gguf, id), 0)) {
            facts.numbers[key] = *value;
        }
    }
}

void check_magic(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw Fault(FaultKind::not_found, "cannot read " + path + ": " + std::strerror(errno),
                    "check the path and its permissions");
    }
    char magic[4] = {};
    file.read(magic, sizeof magic);
    if (file.gcount() != sizeof magic || std::memcmp(magic, "GGUF", sizeof magic) != 0) {
        throw Fault(FaultKind::corrupt, path + " is not a GGUF file: it does not begin with \"GGUF\"",
                    "pull the model again, or give the path of a .gguf file");
    }
}

// What llama.cpp asserts while it loads a model: a damaged file would end the process there, and not with an error.
void check_model(const std::string& path, const gguf_context* gguf, const GgufFacts& facts) {
    constexpr std::int64_t most_layers = 512;  // LLAMA_MAX_LAYERS
    const auto damaged = [&](const std::string& what) {
        return Fault(FaultKind::corrupt, path + " is damaged: " + what, "pull the model again");
    };
    const auto layers = facts.numbers.find(facts.architecture + ".block_count");
    if (layers != facts.numbers.end() && (layers->second < 1 || layers->second > most_layers)) {
        throw damaged("a model of " + std::to_string(layers->second) + " layers");
    }
    const std::int64_t tokens = gguf_find_key(gguf, "tokenizer.ggml.tokens");
    if (tokens < 0 || gguf_get_kv_type(gguf, tokens) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(gguf, tokens) != GGUF_TYPE_STRING) {
        return;
    }
    const std::size_t count = gguf_get_arr_n(gguf, tokens);
    std::unordered_set<std::string_view> seen;
    seen.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string_view text = gguf_get_arr_str(gguf, tokens, i);
        // llama.cpp gives those without a text one of their own.
        if (!text.empty() && !seen.insert(text).second) {
            throw damaged("its vocabulary has a token twice (" + std::to_string(i) + ")");
        }
    }
}

}  // namespace

GgufFacts inspect_gguf(const std::string& path) {
    initialise_llama();
    check_magic(path);
    forget_errors();
    const std::unique_ptr<gguf_context, GgufFree> gguf(gguf_init_from_file(path.c_str(), {true, nullptr}));
    GgufFacts facts;
    facts.file_bytes = std::filesystem::file_size(path);
    if (!gguf) {
        throw Fault(FaultKind::corrupt,
                    path + " is truncated or damaged: its GGUF header cannot be read (" + recent_errors() + ")",
                    "pull the model again");
    }
    facts.needed_bytes = gguf_get_data_offset(gguf.get());
    for (std::int64_t id = 0; id < gguf_get_n_tensors(gguf.get()); ++id) {
        const std::uint64_t end = gguf_get_data_offset(gguf.get()) + gguf_get_tensor_offset(gguf.get(), id) +
                                  gguf_get_tensor_size(gguf.get(), id);
        facts.needed_bytes = std::max(facts.needed_bytes, end);
    }
    if (facts.file_bytes < facts.needed_bytes) {
        throw Fault(FaultKind::corrupt,
                    path + " is truncated: " + std::to_string(facts.file_bytes) + " bytes of at least " +
                        std::to_string(facts.needed_bytes),
                    "pull the model again");
    }
    collect_metadata(gguf.get(), facts);
    if (const auto found = facts.texts.find("general.architecture"); found != facts.texts.end()) {
        facts.architecture = found->second;
        check_model(path, gguf.get(), facts);
    }
    return facts;
}

}  // namespace coder_lsp
