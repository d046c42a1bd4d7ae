// EAN-13, the thirteen digits below the bars on a product.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace barcode {

constexpr std::size_t kLength = 13;

// The last digit makes the weighted sum of all digits a multiple of ten; the weights are 1, 3, 1, 3 and so on.
inline int check_digit(std::string_view digits) {
    int sum = 0;
    for (std::size_t i = 0; i + 1 < kLength; ++i) {
        int digit = digits[i] - '0';
        sum += (i % 2 == 0) ? digit : 3 * digit;
    }
    return (10 - sum % 10) % 10;
}

inline bool is_digits(std::string_view text) {
    for (char c : text) {
        if (c < '0' || c > '9') {
            return false;
        }
    }
    return true;
}

inline bool is_valid(std::string_view code) {
    return code.size() == kLength && is_digits(code) && check_digit(code) == code[kLength - 1] - '0';
}

}  // namespace barcode
