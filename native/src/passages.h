// Chooses lines of several files by the names they bring per token they cost: the greedy solution of budgeted maximum
// coverage. `coder_lsp/retrieval/passages.py` says why. Knows no Python, keeps nothing between calls.
//
// Each candidate line begins a window: itself and the candidates right behind it. A window is worth the mass of the
// names on its lines, each once, by the weight of its best line and its tokens; the mass of a name is the weight of all
// lines that have it, and nothing once a window with it was taken. Windows are taken by worth, ties by their order.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace coder_lsp {

// Candidate lines of one file, in their order: the same number of each.
struct CandidateLines {
    std::vector<std::string> texts;
    std::vector<std::int64_t> numbers;
    std::vector<double> weights;
    std::vector<double> costs;  // tokens
};

struct PassageLimits {
    double budget;  // tokens
    double share;   // of the budget, the most for one file
    double least;   // what is worth less or as much a token is not taken
};

struct ChosenPassage {
    std::size_t file;                 // index into the candidates
    std::vector<std::int64_t> lines;  // their numbers
    double worth;
};

// In the order they were chosen. `known` is text: its names are worth nothing. Throws std::invalid_argument.
std::vector<ChosenPassage> choose_passages(std::span<const CandidateLines> files, std::string_view known,
                                           const PassageLimits& limits);

}  // namespace coder_lsp
