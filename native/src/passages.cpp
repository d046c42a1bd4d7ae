#include "passages.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "terms.h"

namespace coder_lsp {
namespace {

constexpr std::size_t window_lines = 3;  // with one more, or with every second window only, fewer names fit
constexpr std::int64_t gap_lines = 4;    // lines further apart are not taken together
constexpr double file_tokens = 10.0;     // what introducing a file costs, about: its path and a control token

using NameId = std::uint32_t;

struct Line {
    std::vector<NameId> names;  // each once, none of the known ones
    double weight;
    double cost;  // 0 once it is taken
};

struct File {
    std::vector<Line> lines;
    double spent = 0.0;
    bool begun = false;
};

struct Window {
    std::size_t file;
    std::size_t first;  // line of the file's candidates
    std::size_t count;
    double weight;  // of its best line
};

struct Name {
    double mass = 0.0;       // how strongly all candidates together point at it; 0 once it is brought
    std::size_t looked = 0;  // the last line or window that it was counted for
    bool known = false;
};

// Sums go from left to right everywhere: a tie is one only if both sides were rounded alike.
class Choice {
  public:
    Choice(std::span<const CandidateLines> candidates, std::string_view known, const PassageLimits& limits)
        : candidates_(candidates), left_(limits.budget), share_(limits.share * limits.budget), least_(limits.least) {
        read_names();
        forget(known);
        weigh_names();
    }

    std::vector<ChosenPassage> run() {
        collect_windows();
        std::vector<ChosenPassage> chosen;
        while (!heap_.empty() && left_ > file_tokens) {
            const std::size_t number = heap_.top().second;
            heap_.pop();
            const Window& window = windows_[number];
            const double worth = worth_of(window);
            if (worth <= least_) continue;
            // Names it brings may have been taken since it was put there.
            if (!heap_.empty() && worth < -heap_.top().first) {
                heap_.emplace(-worth, number);
            } else if (take(window)) {
                const auto first = candidates_[window.file].numbers.begin() + static_cast<std::ptrdiff_t>(window.first);
                chosen.push_back({window.file, {first, first + static_cast<std::ptrdiff_t>(window.count)}, worth});
            }
        }
        return chosen;
    }

  private:
    void read_names() {
        for (const CandidateLines& candidates : candidates_) {
            File& file = files_.emplace_back();
            for (std::size_t i = 0; i < candidates.texts.size(); ++i) {
                Line& line = file.lines.emplace_back(Line{{}, candidates.weights[i], candidates.costs[i]});
                ++looks_;
                for_each_name(candidates.texts[i], [&](std::string_view text) {
                    const auto [entry, added] = ids_.try_emplace(text, static_cast<NameId>(names_.size()));
                    if (added) names_.emplace_back();
                    if (first_look(names_[entry->second])) line.names.push_back(entry->second);
                });
            }
        }
    }

    void forget(std::string_view known) {
        for_each_name(known, [&](std::string_view text) {
            const auto entry = ids_.find(text);
            if (entry != ids_.end()) names_[entry->second].known = true;
        });
        for (File& file : files_) {
            for (Line& line : file.lines) {
                std::erase_if(line.names, [&](NameId name) { return names_[name].known; });
            }
        }
    }

    void weigh_names() {
        for (const File& file : files_) {
            for (const Line& line : file.lines) {
                for (const NameId name : line.names) names_[name].mass += line.weight;
            }
        }
    }

    // Every window that brings something, by what it is worth at most: as if its lines shared no name.
    void collect_windows() {
        for (std::size_t number = 0; number < files_.size(); ++number) {
            const std::vector<Line>& lines = files_[number].lines;
            std::vector<double> gains;
            for (const Line& line : lines) {
                double gain = 0.0;
                for (const NameId name : line.names) gain += names_[name].mass;
                gains.push_back(gain);
            }
            for (std::size_t first = 0; first < lines.size(); ++first) {
                Window window{number, first, window_length(candidates_[number].numbers, first), lines[first].weight};
                double gain = 0.0;
                double cost = 0.0;
                for (std::size_t i = first; i < first + window.count; ++i) {
                    gain += gains[i];
                    cost += lines[i].cost;
                    window.weight = std::max(window.weight, lines[i].weight);
                }
                if (gain == 0.0) continue;
                heap_.emplace(-(gain * window.weight / (file_tokens + cost)), windows_.size());
                windows_.push_back(window);
            }
        }
    }

    static std::size_t window_length(const std::vector<std::int64_t>& numbers, std::size_t first) {
        std::size_t end = first + 1;
        while (end < std::min(first + window_lines, numbers.size()) && numbers[end] - numbers[end - 1] <= gap_lines) {
            ++end;
        }
        return end - first;
    }

    double worth_of(const Window& window) {
        double gain = 0.0;
        ++looks_;
        for (const Line& line : lines_of(window)) {
            for (const NameId name : line.names) {
                if (first_look(names_[name])) gain += names_[name].mass;
            }
        }
        return gain == 0.0 ? 0.0 : gain * window.weight / (cost_of(window) + 1e-9);
    }

    double cost_of(const Window& window) {
        double cost = 0.0;
        for (const Line& line : lines_of(window)) cost += line.cost;
        return (files_[window.file].begun ? 0.0 : file_tokens) + cost;
    }

    // Spends the tokens of a window; false if it does not fit.
    bool take(const Window& window) {
        File& file = files_[window.file];
        const double cost = cost_of(window);
        if (cost > left_ || file.spent + cost > share_) return false;
        left_ -= cost;
        file.spent += cost;
        file.begun = true;
        for (Line& line : lines_of(window)) {
            line.cost = 0.0;
            for (const NameId name : line.names) names_[name].mass = 0.0;
        }
        return true;
    }

    std::span<Line> lines_of(const Window& window) {
        return std::span(files_[window.file].lines).subspan(window.first, window.count);
    }

    bool first_look(Name& name) const { return std::exchange(name.looked, looks_) != looks_; }

    using Entry = std::pair<double, std::size_t>;  // (-worth, window)

    std::span<const CandidateLines> candidates_;
    double left_;   // of the budget
    double share_;  // tokens
    double least_;
    std::vector<File> files_;
    std::vector<Name> names_;
    std::unordered_map<std::string_view, NameId> ids_;  // views of the candidates' texts
    std::size_t looks_ = 0;
    std::vector<Window> windows_;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
};

}  // namespace

std::vector<ChosenPassage> choose_passages(std::span<const CandidateLines> files, std::string_view known,
                                           const PassageLimits& limits) {
    for (const CandidateLines& file : files) {
        const std::size_t count = file.texts.size();
        if (file.numbers.size() != count || file.weights.size() != count || file.costs.size() != count) {
            throw std::invalid_argument("each line needs a text, a number, a weight and a cost");
        }
    }
    return Choice(files, known, limits).run();
}

}  // namespace coder_lsp
