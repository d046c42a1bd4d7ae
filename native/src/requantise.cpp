#include "requantise.h"

#include <ggml-cpp.h>
#include <gguf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "faults.h"
#include "gguf_file.h"
#include "log.h"
#include "requantise_formats.h"

namespace coder_lsp {
namespace {

// A name as a regular expression that matches nothing else.
std::string exactly(const std::string& name) {
    std::string pattern = "^";
    for (const char c : name) {
        if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') pattern += '\\';
        pattern += c;
    }
    return pattern + "$";
}

// What llama.cpp calls a file whose weights are mostly in this format; a label for those who list files. Never one of
// its unquantised kinds, for which it leaves the output layer as it is.
llama_ftype label(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0:
            return LLAMA_FTYPE_MOSTLY_Q4_0;
        case GGML_TYPE_IQ4_NL:
            return LLAMA_FTYPE_MOSTLY_IQ4_NL;
        case GGML_TYPE_Q4_K:
            return LLAMA_FTYPE_MOSTLY_Q4_K_M;
        case GGML_TYPE_Q5_K:
            return LLAMA_FTYPE_MOSTLY_Q5_K_M;
        case GGML_TYPE_Q6_K:
            return LLAMA_FTYPE_MOSTLY_Q6_K;
        default:
            return LLAMA_FTYPE_MOSTLY_Q8_0;
    }
}

constexpr const char* tokens_key = "tokenizer.ggml.tokens";
constexpr const char* types_key = "tokenizer.ggml.token_type";
constexpr const char* scores_key = "tokenizer.ggml.scores";
constexpr const char* merges_key = "tokenizer.ggml.merges";

// Which tensors have a row for each token.
bool has_token_rows(const ggml_tensor* tensor, std::int64_t tokens) {
    const std::string_view name = tensor->name;
    return tokens > 0 && (name == "token_embd.weight" || name == "output.weight" || name == "output.bias") &&
           tensor->ne[ggml_n_dims(tensor) - 1] == tokens;
}

std::vector<std::string> strings(const gguf_context* gguf, const char* key) {
    std::vector<std::string> found;
    const std::int64_t id = gguf_find_key(gguf, key);
    if (id < 0) return found;
    for (std::size_t i = 0; i < gguf_get_arr_n(gguf, id); ++i) found.emplace_back(gguf_get_arr_str(gguf, id, i));
    return found;
}

void set_strings(gguf_context* gguf, const char* key, const std::vector<std::string>& values) {
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    gguf_set_arr_str(gguf, key, pointers.data(), pointers.size());
}

// The elements of an array of numbers that belong to the kept tokens.
void keep_elements(const gguf_context* from, gguf_context* to, const char* key, const std::vector<std::int32_t>& kept) {
    const std::int64_t id = gguf_find_key(from, key);
    if (id < 0) return;
    const gguf_type type = gguf_get_arr_type(from, id);
    constexpr std::size_t size = 4;
    if (type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32 && type != GGUF_TYPE_FLOAT32) {
        throw Fault(FaultKind::unsupported, std::string(key) + " has elements of an unexpected type");
    }
    const auto* data = static_cast<const char*>(gguf_get_arr_data(from, id));
    std::vector<char> chosen(kept.size() * size);
    for (std::size_t i = 0; i < kept.size(); ++i) {
        std::memcpy(chosen.data() + i * size, data + static_cast<std::size_t>(kept[i]) * size, size);
    }
    gguf_set_arr_data(to, key, type, chosen.data(), kept.size());
}

std::vector<std::string> kept_merges(const std::vector<std::string>& merges,
                                     const std::unordered_set<std::string>& tokens) {
    std::vector<std::string> chosen;
    for (const std::string& merge : merges) {
        // "left right"; a space inside a token is spelled otherwise, the first character may be one all the same.
        const std::size_t space = merge.find(' ', 1);
        if (space == std::string::npos) continue;
        const std::string left = merge.substr(0, space);
        const std::string right = merge.substr(space + 1);
        if (tokens.contains(left) && tokens.contains(right) && tokens.contains(left + right)) chosen.push_back(merge);
    }
    return chosen;
}

// "tokenizer.ggml.eos_token_id" and its like hold a token.
bool names_token(const std::string& key) {
    return key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id");
}

// Copies bytes from one file to another in pieces.
void copy(std::ifstream& from, std::ofstream& to, std::size_t offset, std::size_t count, std::vector<char>& buffer) {
    from.seekg(static_cast<std::streamoff>(offset));
    while (count > 0) {
        const std::size_t piece = std::min(count, buffer.size());
        from.read(buffer.data(), static_cast<std::streamsize>(piece));
        if (!from) throw Fault(FaultKind::corrupt, "the model file ended early while it was copied");
        to.write(buffer.data(), static_cast<std::streamsize>(piece));
        count -= piece;
    }
}

void pad(std::ofstream& to, std::size_t alignment) {
    static constexpr std::array<char, 64> zeros = {};
    const auto here = static_cast<std::size_t>(to.tellp());
    for (std::size_t missing = (alignment - here % alignment) % alignment; missing > 0;) {
        const std::size_t piece = std::min(missing, zeros.size());
        to.write(zeros.data(), static_cast<std::streamsize>(piece));
        missing -= piece;
    }
}

// Makes the metadata that of a model with these tokens alone. How many there were.
std::int64_t keep_tokens(const gguf_context* from, gguf_context* to, const std::vector<std::int32_t>& kept) {
    const std::vector<std::string> tokens = strings(from, tokens_key);
    std::unordered_map<std::int64_t, std::uint32_t> number;
    std::unordered_set<std::string> texts;
    std::vector<std::string> chosen;
    for (const std::int32_t token : kept) {
        if (token < 0 || static_cast<std::size_t>(token) >= tokens.size()) {
            throw Fault(FaultKind::engine, "a token to keep is not in the vocabulary");
        }
        number.emplace(token, static_cast<std::uint32_t>(number.size()));
        chosen.push_back(tokens[static_cast<std::size_t>(token)]);
        texts.insert(chosen.back());
    }
    set_strings(to, tokens_key, chosen);
    keep_elements(from, to, types_key, kept);
    keep_elements(from, to, scores_key, kept);
    if (gguf_find_key(from, merges_key) >= 0) {
        set_strings(to, merges_key, kept_merges(strings(from, merges_key), texts));
    }
    for (std::int64_t id = 0; id < gguf_get_n_kv(from); ++id) {
        const std::string key = gguf_get_key(from, id);
        if (key.ends_with(".vocab_size")) gguf_set_val_u32(to, key.c_str(), static_cast<std::uint32_t>(kept.size()));
        if (!names_token(key) || gguf_get_kv_type(from, id) != GGUF_TYPE_UINT32) continue;
        const auto found = number.find(gguf_get_val_u32(from, id));
        if (found == number.end()) throw Fault(FaultKind::unsupported, key + " names a token that is not to be kept");
        gguf_set_val_u32(to, key.c_str(), found->second);
    }
    return static_cast<std::int64_t>(tokens.size());
}

struct OpenFile {
    ggml_context_ptr tensors;
    gguf_context_ptr gguf;
};

OpenFile open(const std::string& path) {
    inspect_gguf(path);
    ggml_context* tensors = nullptr;
    OpenFile file;
    file.gguf.reset(gguf_init_from_file(path.c_str(), {true, &tensors}));
    file.tensors.reset(tensors);
    if (!file.gguf) throw Fault(FaultKind::corrupt, path + " cannot be read: " + recent_errors());
    return file;
}

}  // namespace

void requantise(const Requantisation& job) {
    const LogTurn turn;
    std::vector<std::string> patterns;
    std::vector<llama_model_tensor_override> overrides;
    std::map<ggml_type, std::size_t> changed;
    for (const Matrix& matrix : read_matrices(job.source)) {
        const auto chosen = job.formats.find(matrix.name);
        const std::string& format = chosen == job.formats.end() ? matrix.format : chosen->second;
        const ggml_type type = format_named(format);
        if (row_bytes(format, matrix.shape[0]) == 0) {
            throw Fault(FaultKind::engine, matrix.name + " cannot be " + format + ": its rows are no whole blocks");
        }
        if (chosen != job.formats.end()) changed[type] += matrix.bytes;
        patterns.push_back(exactly(matrix.name));
        overrides.push_back({nullptr, type});
    }
    for (std::size_t i = 0; i < patterns.size(); ++i) overrides[i].pattern = patterns[i].c_str();
    overrides.push_back({nullptr, GGML_TYPE_COUNT});
    std::vector<llama_model_imatrix_data> weights;
    for (const auto& [name, values] : job.importance) weights.push_back({name.c_str(), values.data(), values.size()});
    weights.push_back({nullptr, nullptr, 0});
    if (patterns.empty()) throw Fault(FaultKind::unsupported, job.source + " has no weights");
    const auto most = std::max_element(changed.begin(), changed.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });

    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.nthread = job.threads;
    params.ftype = label(most == changed.end() ? GGML_TYPE_Q8_0 : most->first);  // each weight's format is below
    params.allow_requantize = true;
    params.pure = true;
    params.imatrix = job.importance.empty() ? nullptr : weights.data();
    params.tt_overrides = overrides.data();
    forget_errors();
    if (llama_model_quantize(job.source.c_str(), job.target.c_str(), &params) != 0) {
        const std::string reason = recent_errors();
        const bool unknown = reason.find("unknown model architecture") != std::string::npos;
        throw Fault(unknown ? FaultKind::unsupported : FaultKind::engine,
                    job.source + " cannot be quantised: " + (reason.empty() ? "no reason given" : reason));
    }
}

VocabularyTable read_vocabulary(const std::string& path) {
    const LogTurn turn;
    const OpenFile file = open(path);
    VocabularyTable table;
    const std::int64_t model = gguf_find_key(file.gguf.get(), "tokenizer.ggml.model");
    if (model >= 0) table.model = gguf_get_val_str(file.gguf.get(), model);
    table.tokens = strings(file.gguf.get(), tokens_key);
    table.merges = strings(file.gguf.get(), merges_key);
    const std::int64_t types = gguf_find_key(file.gguf.get(), types_key);
    if (types >= 0 && gguf_get_arr_n(file.gguf.get(), types) == table.tokens.size()) {
        const auto* data = static_cast<const std::int32_t*>(gguf_get_arr_data(file.gguf.get(), types));
        table.types.assign(data, data + table.tokens.size());
    }
    if (table.tokens.empty() || table.types.empty()) {
        throw Fault(FaultKind::unsupported, path + " has no vocabulary");
    }
    return table;
}

void copy_model(const std::string& source, const std::string& target, const std::vector<std::int32_t>& kept,
                const std::map<std::string, std::string>& facts) {
    const LogTurn turn;
    const OpenFile from = open(source);
    const gguf_context_ptr to(gguf_init_empty());
    gguf_set_kv(to.get(), from.gguf.get());
    const std::int64_t tokens = kept.empty() ? 0 : keep_tokens(from.gguf.get(), to.get(), kept);
    for (const auto& [key, value] : facts) gguf_set_val_str(to.get(), key.c_str(), value.c_str());

    const auto count = static_cast<std::size_t>(gguf_get_n_tensors(from.gguf.get()));
    const ggml_context_ptr shapes(ggml_init({ggml_tensor_overhead() * (1 + count), nullptr, true}));
    bool rows = false;
    for (std::int64_t id = 0; id < gguf_get_n_tensors(from.gguf.get()); ++id) {
        const ggml_tensor* tensor = ggml_get_tensor(from.tensors.get(), gguf_get_tensor_name(from.gguf.get(), id));
        std::int64_t extents[GGML_MAX_DIMS];
        std::copy_n(tensor->ne, GGML_MAX_DIMS, extents);
        if (has_token_rows(tensor, tokens)) {
            extents[ggml_n_dims(tensor) - 1] = static_cast<std::int64_t>(kept.size());
            rows = true;
        }
        ggml_tensor* shape = ggml_new_tensor(shapes.get(), tensor->type, ggml_n_dims(tensor), extents);
        ggml_set_name(shape, tensor->name);
        gguf_add_tensor(to.get(), shape);
    }
    if (!kept.empty() && !rows) {
        throw Fault(FaultKind::unsupported, source + " has no table with a row for each token");
    }

    std::ifstream input(source, std::ios::binary);
    std::ofstream output(target, std::ios::binary | std::ios::trunc);
    std::vector<char> buffer(4u << 20);
    std::vector<char> header(gguf_get_meta_size(to.get()));
    gguf_get_meta_data(to.get(), header.data());
    output.write(header.data(), static_cast<std::streamsize>(header.size()));
    const std::size_t alignment = gguf_get_alignment(to.get());
    for (std::int64_t id = 0; id < gguf_get_n_tensors(from.gguf.get()) && output; ++id) {
        const ggml_tensor* tensor = ggml_get_tensor(from.tensors.get(), gguf_get_tensor_name(from.gguf.get(), id));
        const std::size_t offset = gguf_get_data_offset(from.gguf.get()) + gguf_get_tensor_offset(from.gguf.get(), id);
        if (has_token_rows(tensor, tokens)) {
            const std::size_t row = ggml_nbytes(tensor) / static_cast<std::size_t>(tokens);
            for (const std::int32_t token : kept) {
                copy(input, output, offset + static_cast<std::size_t>(token) * row, row, buffer);
            }
        } else {
            copy(input, output, offset, ggml_nbytes(tensor), buffer);
        }
        pad(output, alignment);
    }
    output.close();
    if (!output) throw Fault(FaultKind::engine, target + " could not be written", "is the disk full?");
}

}  // namespace coder_lsp
