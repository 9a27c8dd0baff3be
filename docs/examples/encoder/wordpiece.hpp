// WordPiece tokens as BERT's uncased models expect them (Devlin et al., arXiv:1810.04805).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

/// Lower-cased words, accents of Latin-1 letters dropped, cut at spaces and around punctuation, then greedily into the longest
/// pieces of the vocabulary. Other scripts pass as they are: full Unicode normalisation is beyond this example.
class WordPiece {
 public:
  /// vocabulary: a file with a token a line; its number is the token's id. Throws std::runtime_error where it cannot be used.
  explicit WordPiece(const std::string& vocabulary) {
    std::ifstream file(vocabulary);
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      ids_.emplace(line, static_cast<std::int64_t>(ids_.size()));
    }
    for (const char* needed : {"[UNK]", "[CLS]", "[SEP]"}) {
      if (ids_.count(needed) == 0) throw std::runtime_error(vocabulary + ": the vocabulary has no " + needed);
    }
  }

  /// [CLS], the text's tokens, [SEP]; at most `limit` ids in all. text: UTF-8.
  std::vector<std::int64_t> encode(const std::string& text, std::size_t limit = 256) const {
    std::vector<std::int64_t> ids = {ids_.at("[CLS]")};
    for (const std::string& word : words(text)) append_pieces(word, ids);
    ids.resize(std::min(ids.size(), limit - 1));
    ids.push_back(ids_.at("[SEP]"));
    return ids;
  }

 private:
  static std::vector<std::string> words(const std::string& text) {
    std::vector<std::string> all;
    std::string word;
    const auto finish = [&] {
      if (!word.empty()) all.push_back(word);
      word.clear();
    };
    for (std::size_t i = 0; i < text.size();) {
      const std::uint32_t code = next_code_point(text, i);
      if (code == ' ' || (code >= '\t' && code <= '\r') || code == 0xa0 || code == 0x3000) {
        finish();
      } else if (is_punctuation(code) || is_ideograph(code)) {
        finish();
        append(word, code);
        finish();
      } else if (code >= ' ' && code != 0x7f && code != 0xfffd) {
        append(word, plain(code));
      }
    }
    finish();
    return all;
  }

  void append_pieces(const std::string& word, std::vector<std::int64_t>& ids) const {
    constexpr std::size_t longest = 100;
    const std::size_t before = ids.size();
    for (std::size_t begin = 0; begin < word.size();) {
      std::size_t end = word.size() <= longest ? word.size() : begin;
      auto found = ids_.end();
      for (; end > begin; --end) {
        found = ids_.find((begin > 0 ? "##" : "") + word.substr(begin, end - begin));
        if (found != ids_.end()) break;
      }
      if (end == begin) {  // no piece fits: the whole word is unknown
        ids.resize(before);
        ids.push_back(ids_.at("[UNK]"));
        return;
      }
      ids.push_back(found->second);
      begin = end;
    }
  }

  /// The code point at text[i], and i behind it; U+FFFD for what is no UTF-8.
  static std::uint32_t next_code_point(const std::string& text, std::size_t& i) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const std::uint32_t first = byte(i++);
    if (first < 0x80) return first;
    const std::size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
    if (more == 0 || i + more > text.size()) return 0xfffd;
    std::uint32_t code = first & (0x3fu >> more);
    for (std::size_t k = 0; k < more; ++k) code = code << 6 | (byte(i++) & 0x3f);
    return code;
  }

  static void append(std::string& word, std::uint32_t code) {
    if (code < 0x80) {
      word += static_cast<char>(code);
    } else if (code < 0x800) {
      word += {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    } else if (code < 0x10000) {
      word += {static_cast<char>(0xe0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3f)),
               static_cast<char>(0x80 | (code & 0x3f))};
    } else {
      word += {static_cast<char>(0xf0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3f)),
               static_cast<char>(0x80 | (code >> 6 & 0x3f)), static_cast<char>(0x80 | (code & 0x3f))};
    }
  }

  /// Lower case, and Latin letters without their accents.
  static std::uint32_t plain(std::uint32_t code) {
    if (code >= 'A' && code <= 'Z') return code + ('a' - 'A');
    if (code < 0xc0 || code > 0xff || code == 0xd7 || code == 0xf7) return code;
    // U+00C0 and on, where '.' stands for letters that carry no accent; the lower-case half repeats it.
    constexpr char base[] = "aaaaaa.ceeeeiiii.nooooo..uuuuy..";
    const char letter = base[(code - 0xc0) % 32];
    if (code == 0xff) return 'y';
    if (letter != '.') return static_cast<unsigned char>(letter);
    return code < 0xdf ? code + 32 : code;
  }

  static bool is_punctuation(std::uint32_t code) {
    if (code < 0x80) return code > ' ' && code != 0x7f && !is_letter_or_digit(code);
    return code == 0xa1 || code == 0xa7 || code == 0xab || code == 0xb6 || code == 0xb7 || code == 0xbb || code == 0xbf ||
           (code >= 0x2010 && code <= 0x2027) || (code >= 0x2030 && code <= 0x205e) || (code >= 0x3001 && code <= 0x3003) ||
           (code >= 0x3008 && code <= 0x3011);
  }
  static bool is_letter_or_digit(std::uint32_t code) {
    return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
  }
  static bool is_ideograph(std::uint32_t code) {
    return (code >= 0x4e00 && code <= 0x9fff) || (code >= 0x3400 && code <= 0x4dbf) || (code >= 0xf900 && code <= 0xfaff) ||
           (code >= 0x20000 && code <= 0x2fa1f);
  }

  std::unordered_map<std::string, std::int64_t> ids_;
};
