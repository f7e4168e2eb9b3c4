# Every third-party library, found once, under the uniform names millrace_dep::<name>. Versions are
# those of Debian 12 (dev/packages.txt) and of the pinned Arrow wheel (dev/setup).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# millrace_dep(<name> <target or library>...)
function(millrace_dep name)
  add_library(millrace_dep_${name} INTERFACE)
  target_link_libraries(millrace_dep_${name} INTERFACE ${ARGN})
  add_library(millrace_dep::${name} ALIAS millrace_dep_${name})
endfunction()

# millrace_dep_pkg(<name> <pkg-config module>...)
function(millrace_dep_pkg name)
  pkg_check_modules(MILLRACE_PKG_${name} REQUIRED IMPORTED_TARGET GLOBAL ${ARGN})
  millrace_dep(${name} PkgConfig::MILLRACE_PKG_${name})
endfunction()

# A library with neither: header and library by name.
function(millrace_dep_find name header library)
  find_path(MILLRACE_${name}_INCLUDE ${header} REQUIRED)
  find_library(MILLRACE_${name}_LIBRARY ${library} REQUIRED)
  millrace_dep(${name} ${MILLRACE_${name}_LIBRARY})
endfunction()

find_package(absl REQUIRED)
millrace_dep(absl absl::status absl::statusor absl::strings absl::time absl::synchronization
  absl::any_invocable absl::flat_hash_map absl::flat_hash_set absl::btree absl::hash absl::random_random)
find_package(Protobuf REQUIRED)
millrace_dep(protobuf protobuf::libprotobuf)
find_package(gRPC REQUIRED)
millrace_dep(grpcpp gRPC::grpc++)
millrace_dep(grpc_reflection gRPC::grpc++_reflection)
find_package(simdjson REQUIRED)
millrace_dep(simdjson simdjson::simdjson)
find_package(MillraceArrow REQUIRED)
millrace_dep(arrow_compute ArrowCompute::arrow_compute_shared Arrow::arrow_shared)
millrace_dep_find(rocksdb rocksdb/db.h rocksdb)
millrace_dep_pkg(pq libpq)
millrace_dep_pkg(rdkafka rdkafka)
millrace_dep_pkg(codecs liblz4 libzstd snappy zlib)
millrace_dep_find(pg_query pg_query.h pg_query)
millrace_dep_pkg(sqlite sqlite3)
find_package(prometheus-cpp REQUIRED)
millrace_dep(prometheus prometheus-cpp::core)
find_package(spdlog REQUIRED)
millrace_dep(spdlog spdlog::spdlog)
millrace_dep_find(re2 re2/re2.h re2)
# Arrow's libraries export a simdjson (the slow fallback) and an RE2 of their own: ours must come
# first, before everything that CMake orders by itself (tests/tidy looks at the programs). Functions
# of Arrow that use regular expressions must not be called: they would meet ours.
target_link_options(millrace_dep_arrow_compute INTERFACE
  LINKER:$<TARGET_FILE:simdjson::simdjson> LINKER:${MILLRACE_re2_LIBRARY})
millrace_dep_pkg(yaml yaml-cpp)
millrace_dep_pkg(curl libcurl)
millrace_dep_pkg(pugixml pugixml)
millrace_dep_pkg(xxhash libxxhash)
# Replaces malloc where a program links it first; not under sanitizers, which bring their own.
if(MILLRACE_SANITIZE)
  millrace_dep(mimalloc)
else()
  millrace_dep_find(mimalloc mimalloc.h mimalloc)
endif()
# Headers only, but for httplib, which Debian builds as a library.
millrace_dep(json)
millrace_dep(cli11)
millrace_dep_find(httplib httplib.h cpp-httplib)
find_package(benchmark REQUIRED)
millrace_dep(benchmark benchmark::benchmark)
