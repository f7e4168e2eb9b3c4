# Arrow C++ out of the pinned pyarrow wheel that dev/setup unpacks. Targets as Arrow's own package
# names them: Arrow::arrow_shared, ArrowCompute::arrow_compute_shared.
set(MILLRACE_ARROW_ROOT "${CMAKE_SOURCE_DIR}/.dev/arrow" CACHE PATH "unpacked pyarrow wheel")
find_path(MillraceArrow_INCLUDE_DIR arrow/api.h
  PATHS "${MILLRACE_ARROW_ROOT}/pyarrow/include" NO_DEFAULT_PATH)
if(MillraceArrow_INCLUDE_DIR)
  file(STRINGS "${MillraceArrow_INCLUDE_DIR}/arrow/util/config.h" version
    REGEX "define ARROW_SO_VERSION ")
  string(REGEX REPLACE ".*\"([0-9]+)\".*" "\\1" MillraceArrow_VERSION "${version}")
endif()

# millrace_arrow_library(<target> <name> <libraries it needs>...)
function(millrace_arrow_library target name)
  set(file "lib${name}.so.${MillraceArrow_VERSION}")
  add_library(${target} SHARED IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION "${MillraceArrow_INCLUDE_DIR}/../${file}" IMPORTED_SONAME "${file}"
    INTERFACE_INCLUDE_DIRECTORIES "${MillraceArrow_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${ARGN}")
endfunction()
millrace_arrow_library(Arrow::arrow_shared arrow)
millrace_arrow_library(ArrowCompute::arrow_compute_shared arrow_compute Arrow::arrow_shared)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceArrow
  REQUIRED_VARS MillraceArrow_INCLUDE_DIR MillraceArrow_VERSION VERSION_VAR MillraceArrow_VERSION
  REASON_FAILURE_MESSAGE "run dev/setup")
