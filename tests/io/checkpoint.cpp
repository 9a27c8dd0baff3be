// Checkpoints of one file and of many: what the writer splits, the reader presents as one set.
#include "w8a8/io/checkpoint.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/sharded_writer.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

TensorSpec floats(const std::string& name, std::int64_t count) { return {name, "F32", {count}}; }

std::vector<float> values(std::int64_t count, float first) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(first + static_cast<float>(i));
  return out;
}

void write_floats(ShardedWriter& writer, const std::string& name, const std::vector<float>& data) {
  writer.write(name, {"F32", {static_cast<std::int64_t>(data.size())}, data.data(), data.size() * sizeof(float)});
}

TEST_CASE("plan_shards keeps order and units, and gives large units a shard of their own", "[io]") {
  const auto shards = plan_shards({{floats("a", 4)}, {floats("b", 3), floats("c", 1)}, {floats("d", 100)}, {floats("e", 1)}}, 32);
  REQUIRE(shards.size() == 3);
  CHECK(shards[0].file == "model-00001-of-00003.safetensors");
  CHECK(shards[0].tensors.size() == 3);
  CHECK(shards[0].bytes == 32);
  CHECK(shards[1].tensors[0].name == "d");
  CHECK(shards[2].file == "model-00003-of-00003.safetensors");
  CHECK(shards[2].tensors[0].name == "e");

  const auto one = plan_shards({{floats("a", 4)}, {floats("b", 4)}}, 32);
  REQUIRE(one.size() == 1);
  CHECK(one[0].file == "model.safetensors");
  CHECK(plan_shards({{floats("a", 4)}, {floats("b", 4)}}, 31).size() == 2);
  CHECK(plan_shards({}, 1).size() == 1);
  CHECK(contains(error_text([] { plan_shards({}, 0); }), "maximum_bytes"));
}

TEST_CASE("a sharded checkpoint comes back as it was written", "[io]") {
  const TemporaryDirectory directory;
  const std::string path = directory / ".";
  ShardedWriter writer(path, plan_shards({{floats("a", 5)}, {floats("b", 6)}, {floats("none", 0)}}, 24));
  write_floats(writer, "b", values(6, 10.0f));
  CHECK(contains(error_text([&] { Checkpoint{path}; }), "name the one meant"));  // b's shard alone, no index
  CHECK(contains(error_text([&] { writer.commit(); }), "tensor 'a': was announced and not written whole"));
  const std::vector<float> a = values(5, 1.0f);
  writer.append("a", a.data(), 8);
  writer.append("a", a.data() + 2, 12);
  CHECK(contains(error_text([&] { writer.append("a", a.data(), 4); }), "20 bytes and has more"));
  CHECK(contains(error_text([&] { write_floats(writer, "b", values(6, 0.0f)); }), "was written before"));
  CHECK(contains(error_text([&] { write_floats(writer, "x", values(6, 0.0f)); }), "tensor 'x': was not announced"));
  writer.commit();
  CHECK(directory.files() == 3);

  const Checkpoint checkpoint(path);
  CHECK(checkpoint.size() == 3);
  CHECK(checkpoint.shards().size() == 2);
  CHECK(checkpoint.bytes() == 44);
  CHECK(checkpoint.total_size() == std::uint64_t{44});
  CHECK(checkpoint.view<float, 1>("a")(4) == 5.0f);
  CHECK(checkpoint.load<float, 1>("b")(5) == 15.0f);
  CHECK(checkpoint.load_as<half, 1>("b").extent(0) == 6);
  CHECK(checkpoint.ref("none").bytes == 0);
  checkpoint.shard("b").release("b");
  CHECK(checkpoint.view<float, 1>("b")(0) == 10.0f);  // read again
  CHECK(contains(error_text([&] { checkpoint.find("c"); }), "tensor 'c': is in none of the 2 shards"));
  CHECK(contains(error_text([&] { checkpoint.view<half, 1>("a"); }), "model-00001-of-00002.safetensors', tensor 'a': its dtype"));
  CHECK(Checkpoint(directory / "model.safetensors.index.json").size() == 3);
  CHECK(contains(error_text([&] { ShardedWriter(path, plan_shards({}, 1)); }), "a checkpoint is never overwritten"));
}

TEST_CASE("a checkpoint of one file", "[io]") {
  const TemporaryDirectory directory;
  const std::string path = directory / ".";
  {
    ShardedWriter writer(path, plan_shards({{floats("a", 2)}}, 1000));
    write_floats(writer, "a", {1.0f, 2.0f});
    CHECK(contains(error_text([&] { Checkpoint{path}; }), "holds neither model.safetensors nor"));
    writer.commit();
  }
  CHECK(directory.files() == 1);
  CHECK(Checkpoint(path).view<float, 1>("a")(1) == 2.0f);
  CHECK(Checkpoint(path).index_path() == "");
  CHECK(Checkpoint(directory / "model.safetensors").size() == 1);
  CHECK(contains(error_text([&] { Checkpoint(path).find("b"); }), "which holds 'a'"));

  std::filesystem::rename(directory / "model.safetensors", directory / "other.safetensors");
  CHECK(Checkpoint(path).size() == 1);
  write_file(directory / "model.safetensors", safetensors_bytes("{}", ""));
  CHECK(Checkpoint(path).size() == 0);
  write_file(directory / "model.safetensors.index.json", "{}");
  CHECK(contains(error_text([&] { Checkpoint{path}; }), "holds both"));
  CHECK(contains(error_text([&] { Checkpoint(directory / "absent"); }), "cannot be opened"));
}

TEST_CASE("shards and index that disagree are refused", "[io]") {
  const TemporaryDirectory directory;
  const auto file = [](const std::string& name) {
    return safetensors_bytes("{\"" + name + "\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "x");
  };
  write_file(directory / "1.safetensors", file("a"));
  write_file(directory / "2.safetensors", file("b"));
  const auto refused = [&](const std::string& map) {
    write_file(directory / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
    return error_text([&] { Checkpoint(directory / "."); });
  };
  CHECK(refused(R"("a":"1.safetensors","b":"2.safetensors")") == "no exception");
  CHECK(contains(refused(R"("a":"1.safetensors","b":"1.safetensors")"),
                 "index.json', tensor 'b': is said to be in '1.safetensors', which does not hold it"));
  CHECK(contains(refused(R"("a":"2.safetensors","b":"1.safetensors")"),
                 "tensor 'a': is said to be in '2.safetensors', which does"));
  CHECK(contains(refused(R"("a":"1.safetensors","b":"2.safetensors","c":"2.safetensors")"),
                 "tensor 'c': is said to be in '2.safetensors', which does not hold it"));
  CHECK(contains(refused(R"("a":"1.safetensors","b":"3.safetensors")"), "3.safetensors': cannot be opened: No such file"));
  write_file(directory / "2.safetensors", file("a"));
  CHECK(contains(refused(R"("a":"1.safetensors","b":"2.safetensors")"), "2.safetensors', tensor 'a': is in"));
  write_file(directory / "2.safetensors", file("b").substr(0, 20));
  CHECK(contains(refused(R"("a":"1.safetensors","b":"2.safetensors")"), "2.safetensors': its header is said to be"));
  write_file(
      directory / "2.safetensors",
      safetensors_bytes(
          R"({"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"I8","shape":[0],"data_offsets":[1,1]}})", "x"));
  CHECK(contains(refused(R"("a":"1.safetensors","b":"2.safetensors")"), "tensor 'c': is in '"));
}

TEST_CASE("hostile indices are refused", "[io]") {
  const auto reason = [](const std::string& json) {
    try {
      parse_safetensors_index(json, "i");
    } catch (const FileError& error) {
      CHECK(error.file() == "i");
      return error.tensor() + ": " + error.reason();
    }
    return std::string("accepted");
  };
  CHECK(reason(R"({"metadata":{"total_size":5,"x":{"y":[1,{"z":null}]}},"more":[1,2],"weight_map":{"a":"b"}})") == "accepted");
  CHECK(reason(R"({"metadata":{"total_size":5.0},"weight_map":{"a":"b"}})") == "accepted");
  CHECK(reason(R"({"metadata":{"total_size":-5},"weight_map":{"a":"b"}})") == "accepted");
  CHECK(reason("{}") == ": has no weight_map");
  CHECK(reason("[]") == ": is an array, not an object");
  CHECK(reason("7") == ": is a number, not an object");
  CHECK(reason("\"a\"") == ": is a string, not an object");
  CHECK(reason(R"({"weight_map":{}})") == ": its weight_map is empty");
  CHECK(reason(R"({"weight_map":[]})") == ": its weight_map is an array, not an object");
  CHECK(reason(R"({"weight_map":"a"})") == ": its weight_map is a string, not an object");
  CHECK(reason(R"({"weight_map":null})") == ": its weight_map is null, not an object");
  CHECK(reason(R"({"weight_map":{"a":1}})") == "a: the name of its file is a number");
  CHECK(reason(R"({"weight_map":{"a":{}}})") == "a: the name of its file is an object");
  CHECK(reason(R"({"weight_map":{"a":["b"]}})") == "a: the name of its file is an array");
  CHECK(reason(R"({"weight_map":{"a":"b","a":"b"}})") == "a: appears twice in the weight_map");
  CHECK(reason(R"({"weight_map":{"a":"b"},"weight_map":{"a":"b"}})") == ": has two entries 'weight_map'");
  CHECK(reason(R"({"weight_map":{"a":"../b"}})") == "a: the name of its file, '../b', holds a path separator");
  CHECK(reason(R"({"weight_map":{"a":"/etc/passwd"}})") == "a: the name of its file, '/etc/passwd', holds a path separator");
  CHECK(reason(R"({"weight_map":{"a":"..\\b"}})") == "a: the name of its file, '..\\b', holds a path separator");
  CHECK(reason(R"({"weight_map":{"a":".."}})") == "a: the name of its file, '..', is a directory");
  CHECK(reason(R"({"weight_map":{"a":""}})") == "a: the name of its file, '', is empty");
  CHECK(reason(R"({"weight_map":{"a":"b\u0000c"}})") == "a: the name of its file, 'b\\x00c', holds a control character");
  CHECK(reason(R"({"weight_map":{"a":")" + std::string(256, 'b') + "\"}}").find("is longer than 255 bytes") != std::string::npos);
  CHECK(reason(R"({"weight_map":{"a":"b"}} x)").find(": is not valid JSON at byte ") == 0);
  CHECK(reason(std::string("{}\0", 3)) == ": holds a NUL byte");
  CHECK(reason("{\"x\":" + std::string(1'000'000, '[')).find(": is not valid JSON at byte ") == 0);
}

TEST_CASE("parse_json refuses what a tree would hide or not survive", "[io]") {
  const auto reason = [](const std::string& json) {
    try {
      parse_json(json, "j");
    } catch (const FileError& error) {
      return error.reason();
    }
    return std::string("accepted");
  };
  CHECK(parse_json(R"({"z":[1,-2,0.5,"s",null,true,{}],"a":{"b":[]}})", "j").dump() ==
        R"({"z":[1,-2,0.5,"s",null,true,{}],"a":{"b":[]}})");
  CHECK(parse_json("7", "j") == 7);
  CHECK(reason(R"({"a":[{},{"b":1,"b":2}]})") == "has two entries '/a/1/b'");
  CHECK(reason(R"({"a":1,"\u0061":2})") == "has two entries '/a'");
  CHECK(reason(std::string(64, '[') + std::string(64, ']')) == "accepted");
  CHECK(reason(std::string(65, '[') + std::string(65, ']')) == "is nested deeper than 64");
  CHECK(reason(std::string(3'000'000, '[')) == "is nested deeper than 64");
  CHECK(reason(std::string((16u << 20) + 1, ' ')) == "is 16777217 bytes long, more than the limit of 16777216");
  CHECK(reason("").find("is not valid JSON at byte ") == 0);
  CHECK(reason("{\"a\":\"\xff\"}").find("is not valid JSON at byte ") == 0);
}

}  // namespace
