// `try_files`: the first that exists (ngx_http_try_files_module).
#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

// The slash must stand in the configuration: a URI that ends with one does not ask for a directory.
bool names_directory(const Complex& file) {
  return file.literal() ? file.text.ends_with('/')
                        : file.parts.back().kind == Complex::Part::kText &&
                              file.parts.back().text.ends_with('/');
}

int go_to(Request* r, Str target) {
  if (target.starts_with('@')) {
    named_location(r, target);
  } else {
    size_t question = target.find('?');
    Str args = question == Str::npos ? Str() : target.substr(question + 1);
    internal_redirect(r, target.substr(0, question), args);
  }
  finalize_request(r, kDone);
  return kDone;
}

}  // namespace

int try_files_handler(Request* r) {
  const LocConf* conf = loc(r);
  if (!conf->try_files) return kDeclined;
  if (conf->alias && !r->valid_location) {
    Path path;
    map_uri_to_path(r, &path);  // logs
    return 500;
  }

  for (const Complex& file : conf->try_files->files) {
    Str name = eval(r, file);
    bool directory = names_directory(file);
    if (directory) name.remove_suffix(1);
    // What is tried is a URI under the root; under an alias it may begin with the location's name.
    Str rest = name;
    size_t alias = conf->alias_length > 0 ? static_cast<size_t>(conf->alias_length) : 0;
    if (alias && !file.literal() && name.starts_with(r->uri.substr(0, alias)))
      rest = name.substr(alias);

    Str path = r->pool->join({root_of(r), rest, Str("", 1)});
    path.remove_suffix(1);
    MOONPHASE_LOG(r, kLogDebug, 0, "trying to use %s: \"%.*s\" \"%s\"", directory ? "dir" : "file",
                  STR(name), path.data());
    FileInfo info;
    if (!stat_file(path, &info)) {
      if (!is_missing(info.err))
        MOONPHASE_LOG(r, kLogCrit, info.err, "%s \"%s\" failed", info.failed, path.data());
      continue;
    }
    if (info.is_dir != directory) continue;

    if (!conf->alias) {
      r->uri = rest;
    } else if (conf->alias_length < 0) {
      if (!directory) {
        r->uri = rest;
        r->add_uri_to_alias = true;
      }
    } else {
      r->uri = r->pool->join({r->uri.substr(0, alias), rest});
    }
    http::set_exten(r);
    MOONPHASE_LOG(r, kLogDebug, 0, "try file uri: \"%.*s\"", STR(r->uri));
    return kDeclined;
  }
  if (conf->try_files->code) return conf->try_files->code;
  return go_to(r, eval(r, conf->try_files->target));
}

}  // namespace moonphase::engine
