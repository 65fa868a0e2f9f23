// The in-toto statements that hold a build's attestations (reference T01, T04), as BuildKit's
// util/purl and exporter/util/attestation write them.
#include "oci/reference.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {

std::string image_purl(std::string_view name, const oci::Platform& platform) {
  std::string text = "pkg:docker/";
  Result<oci::Reference> reference = oci::Reference::parse(name);
  if (reference) *reference = reference->with_default_tag();
  text += reference ? reference->familiar_name() : std::string(name);
  if (reference && !reference->tag.empty()) text += "@" + reference->tag;
  text += "?";
  if (reference && !reference->digest.empty()) {
    const size_t colon = reference->digest.find(':');
    text += "digest=" + reference->digest.substr(0, colon) + "%3A" +
            reference->digest.substr(colon + 1) + "&";
  }
  text += "platform=";
  for (const char c : platform.str()) c == '/' ? text += "%2F" : text += c;
  return text;
}

std::vector<StatementSubject> image_subjects(const std::vector<std::string>& names,
                                             const oci::Platform& platform,
                                             std::string_view manifest_digest) {
  std::string hex(manifest_digest.substr(manifest_digest.find(':') + 1));
  std::vector<StatementSubject> subjects;
  for (const std::string& name : names) subjects.push_back({image_purl(name, platform), hex});
  // A statement has a subject; "_" is in-toto's name for one without a name.
  if (subjects.empty()) subjects.push_back({"_", std::move(hex)});
  return subjects;
}

std::string in_toto_statement(const Attestation& attestation,
                              const std::vector<StatementSubject>& subjects) {
  std::string text = "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":";
  oci::write_json_string(text, attestation.predicate_type);
  text += ",\"subject\":[";
  for (const StatementSubject& subject : subjects) {
    if (&subject != &subjects.front()) text += ',';
    text += "{\"name\":";
    oci::write_json_string(text, subject.name);
    text += ",\"digest\":{\"sha256\":\"" + subject.sha256_hex + "\"}}";
  }
  return text + "],\"predicate\":" + attestation.predicate_json + "}";
}

}  // namespace kasane::transfer
