// Writes a model file anew: with other formats, with a smaller vocabulary, with facts about its making.
//
// Quantising is libllama's. Writes where it is told to and never over what it reads; whoever calls puts the result in
// its place.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "importance.h"

namespace coder_lsp {

struct Requantisation {
    std::string source;
    std::string target;
    std::map<std::string, std::string> formats;  // of weights that change; all others are copied
    Importance importance;
    std::int32_t threads = 1;
};

// Throws Fault corrupt, unsupported or engine; what there is of the target is the caller's to remove.
void requantise(const Requantisation& job);

struct VocabularyTable {
    std::string model;                // "gpt2" is byte-level BPE
    std::vector<std::string> tokens;  // as stored
    std::vector<std::int32_t> types;
    std::vector<std::string> merges;
};

// Throws Fault as inspect_gguf() does, or unsupported if there is none.
VocabularyTable read_vocabulary(const std::string& path);

// Copies a file, with `facts` added to its metadata. Unless `kept` is empty, with these tokens alone, in that order:
// rows of embedding and output, tokens, types, scores, and the merges that join kept tokens to kept ones; ids in the
// metadata are renumbered. Throws Fault; unsupported where a token that the metadata names is not kept.
void copy_model(const std::string& source, const std::string& target, const std::vector<std::int32_t>& kept,
                const std::map<std::string, std::string>& facts);

}  // namespace coder_lsp
