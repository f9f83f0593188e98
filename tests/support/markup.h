#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace wick::test {

inline std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size()))
    ++found;
  return found;
}

/// Fails the test where an element of XML or HTML is not closed, or closed in the wrong order.
inline void expect_balanced(std::string_view text) {
  static const std::set<std::string, std::less<>> alone{"meta", "input", "!doctype"};
  std::vector<std::string> open;
  for (std::size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at + 1)) {
    const std::size_t end = text.find('>', at);
    ASSERT_NE(end, std::string_view::npos);
    std::string_view tag = text.substr(at + 1, end - at - 1);
    if (tag.ends_with('/')) continue;
    const bool closes = tag.starts_with('/');
    if (closes) tag.remove_prefix(1);
    const std::string name(tag.substr(0, tag.find_first_of(" \n")));
    if (alone.contains(name)) continue;
    if (!closes) {
      open.push_back(name);
      if (name == "script" || name == "style") at = text.find("</" + name, at) - 1;
      continue;
    }
    ASSERT_FALSE(open.empty()) << "</" << name << "> closes nothing";
    ASSERT_EQ(open.back(), name) << "near " << text.substr(at > 80 ? at - 80 : 0, 160);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.size() << " elements stay open, the last is " << open.back();
}

/// A page or picture must show without anything that lies elsewhere.
inline void expect_self_contained(std::string_view text) {
  for (const char* reference : {"href=", "src=", "url(http", "@import", "<link", "<img", "<iframe"})
    EXPECT_EQ(text.find(reference), std::string_view::npos) << reference;
  EXPECT_EQ(count(text, "http"), count(text, "xmlns=\"http://www.w3.org/2000/svg\""));
}

}  // namespace wick::test
