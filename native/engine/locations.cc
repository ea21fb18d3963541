#include "engine/locations.h"

#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

void seal_locations(LocationTree& tree) {
  using Node = LocationTree::Node;
  std::vector<const LocationTree::Static*> sorted;
  for (const auto& s : tree.prefixes) sorted.push_back(&s);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](auto* a, auto* b) { return a->name < b->name; });

  tree.nodes.clear();
  for (const auto* s : sorted) {
    if (tree.nodes.empty() || tree.nodes.back().name != s->name)
      tree.nodes.push_back(Node{s->name});
    Node& node = tree.nodes.back();
    (s->exact ? node.exact : node.inclusive) = s->conf;
    if (s->conf->auto_redirect) node.auto_redirect = tree.has_auto_redirect = true;
  }
  for (int i = 0; i < static_cast<int>(tree.nodes.size()); ++i) {
    Node& node = tree.nodes[static_cast<size_t>(i)];
    // A prefix of this name is one of its predecessor too, or the predecessor itself.
    for (int p = i - 1; p >= 0; p = tree.nodes[static_cast<size_t>(p)].parent) {
      const Node& before = tree.nodes[static_cast<size_t>(p)];
      if (!before.inclusive || !node.name.starts_with(before.name)) continue;
      node.parent = p;
      break;
    }
  }
}

namespace {

// `name` against `uri` and a slash, which is not made.
bool less_than_slashed(Str name, Str uri) {
  if (int c = name.substr(0, uri.size()).compare(uri); c != 0) return c < 0;
  return name.size() == uri.size() || static_cast<unsigned char>(name[uri.size()]) < '/';
}
bool is_slashed(Str name, Str uri) {
  return name.size() == uri.size() + 1 && name.ends_with('/') && name.starts_with(uri);
}

}  // namespace

LocConf* find_static(const LocationTree& tree, Str uri, int* rc) {
  using Node = LocationTree::Node;
  auto less = [](Str s, const Node& node) { return s < node.name; };
  auto above = std::upper_bound(tree.nodes.begin(), tree.nodes.end(), uri, less);
  int i = static_cast<int>(above - tree.nodes.begin()) - 1;

  if (i >= 0 && tree.nodes[static_cast<size_t>(i)].name == uri) {
    const Node& node = tree.nodes[static_cast<size_t>(i)];
    *rc = node.exact ? kOk : kAgain;
    return node.exact ? node.exact : node.inclusive;
  }
  if (tree.has_auto_redirect) {
    auto with_slash = std::partition_point(above, tree.nodes.end(), [&](const Node& node) {
      return less_than_slashed(node.name, uri);
    });
    if (with_slash != tree.nodes.end() && with_slash->auto_redirect &&
        is_slashed(with_slash->name, uri)) {
      *rc = kDone;
      return with_slash->exact ? with_slash->exact : with_slash->inclusive;
    }
  }
  for (; i >= 0; i = tree.nodes[static_cast<size_t>(i)].parent) {
    const Node& node = tree.nodes[static_cast<size_t>(i)];
    if (node.inclusive && uri.starts_with(node.name)) {
      *rc = kAgain;
      return node.inclusive;
    }
  }
  *rc = kDeclined;
  return nullptr;
}

int find_location(Request* r) {
  const LocationTree& tree = loc(r)->locations;
  bool noregex = false;
  int rc = kDeclined;
  if (!tree.nodes.empty()) {
    if (LocConf* conf = find_static(tree, r->uri, &rc)) {
      r->loc = conf;
      if (rc == kAgain) {
        noregex = conf->noregex;
        rc = find_location(r);  // nested ones
      }
    }
  }
  if (rc == kOk || rc == kDone || rc == kError) return rc;

  if (!noregex) {
    for (const auto& [regex, conf] : tree.regex) {
      MOONPHASE_LOG(r, kLogDebug, 0, "test location: ~ \"%s\"", regex->pattern.c_str());
      int matched = match_regex(r, *regex, r->uri);
      if (matched == kDeclined) continue;
      if (matched != kOk) return kError;
      r->loc = conf;
      return find_location(r) == kError ? kError : kOk;
    }
  }
  return rc;
}

void update_location(Request* r) {
  const LocConf* conf = loc(r);
  if (conf->limit_except && (r->method & conf->limit_except_mask)) {
    r->loc = conf->limit_except;
    conf = loc(r);
  }
  if (r->is_main()) r->conn->log = conf->error_log;

  if (conf->client_body_in_file_only != http::CoreConf::kFileOff) {
    r->request_body_in_file_only = true;
    r->request_body_in_persistent_file = true;
    r->request_body_in_clean_file = conf->client_body_in_file_only == http::CoreConf::kFileClean;
    r->request_body_file_log_level = kLogNotice;
  } else {
    r->request_body_file_log_level = kLogWarn;
  }
  r->request_body_in_single_buf = conf->client_body_in_single_buffer;
  if (r->keepalive) http::limit_keepalive(r);
  if (conf->content != ContentKind::kNone) r->content_handler = content_handler(conf->content);
}

}  // namespace moonphase::engine
