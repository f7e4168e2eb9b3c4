# Finds Arrow C++ / Parquet.  1) an installed CMake package, 2) an unpacked pyarrow wheel in
# MILLRACE_ARROW_ROOT (the directory that holds pyarrow/, or pyarrow/ itself).
# Targets (same names as Arrow's own package): Arrow::arrow_shared ArrowCompute::arrow_compute_shared
# ArrowAcero::arrow_acero_shared ArrowDataset::arrow_dataset_shared Parquet::parquet_shared
# and, from the wheel only, ArrowS3::arrow_s3_shared (elsewhere an alias of Arrow::arrow_shared).
# Variables: MillraceArrow_VERSION MillraceArrow_FROM_WHEEL MillraceArrow_LIBDIR MillraceArrow_RUNTIME_LIBS
set(MILLRACE_ARROW_ROOT "${CMAKE_SOURCE_DIR}/.dev/arrow" CACHE PATH "Unpacked pyarrow wheel (dev/setup)")
option(MILLRACE_ARROW_PREFER_WHEEL "Skip find_package(Arrow CONFIG)" OFF)
set(MillraceArrow_FROM_WHEEL FALSE)
if(NOT MILLRACE_ARROW_PREFER_WHEEL)
  find_package(Arrow CONFIG QUIET)
  find_package(Parquet CONFIG QUIET)
  find_package(ArrowCompute CONFIG QUIET)   # separate library since Arrow 21
endif()
if(Arrow_FOUND AND Parquet_FOUND)
  set(MillraceArrow_VERSION "${ARROW_VERSION}")
  if(NOT TARGET ArrowCompute::arrow_compute_shared)
    add_library(ArrowCompute::arrow_compute_shared ALIAS Arrow::arrow_shared)
  endif()
  if(NOT TARGET ArrowS3::arrow_s3_shared)
    add_library(ArrowS3::arrow_s3_shared ALIAS Arrow::arrow_shared)
  endif()
  set(_mla_ok TRUE)
else()
  find_path(MillraceArrow_INCLUDE_DIR arrow/api.h NO_DEFAULT_PATH
    PATHS "${MILLRACE_ARROW_ROOT}/pyarrow/include" "${MILLRACE_ARROW_ROOT}/include")
  set(_mla_ok FALSE)
  if(MillraceArrow_INCLUDE_DIR)
    file(STRINGS "${MillraceArrow_INCLUDE_DIR}/arrow/util/config.h" _mla_v REGEX "ARROW_(VERSION_STRING|SO_VERSION|FULL_SO_VERSION) ")
    string(REGEX REPLACE ".*ARROW_VERSION_STRING \"([^\"]+)\".*" "\\1" MillraceArrow_VERSION "${_mla_v}")
    string(REGEX REPLACE ".*ARROW_SO_VERSION \"([^\"]+)\".*" "\\1" _mla_so "${_mla_v}")
    get_filename_component(MillraceArrow_LIBDIR "${MillraceArrow_INCLUDE_DIR}/.." ABSOLUTE)
    set(MillraceArrow_RUNTIME_LIBS)
    # imported target, library stem, dependencies
    macro(_mla_lib tgt stem)
      set(_f "${MillraceArrow_LIBDIR}/lib${stem}.so.${_mla_so}")
      if(EXISTS "${_f}" AND NOT TARGET ${tgt})
        add_library(${tgt} SHARED IMPORTED)
        set_target_properties(${tgt} PROPERTIES IMPORTED_LOCATION "${_f}" IMPORTED_SONAME "lib${stem}.so.${_mla_so}"
          INTERFACE_INCLUDE_DIRECTORIES "${MillraceArrow_INCLUDE_DIR}" INTERFACE_LINK_LIBRARIES "${ARGN}")
        list(APPEND MillraceArrow_RUNTIME_LIBS "${_f}")
      endif()
    endmacro()
    _mla_lib(Arrow::arrow_shared arrow)
    _mla_lib(ArrowCompute::arrow_compute_shared arrow_compute Arrow::arrow_shared)
    _mla_lib(ArrowAcero::arrow_acero_shared arrow_acero ArrowCompute::arrow_compute_shared)
    _mla_lib(Parquet::parquet_shared parquet Arrow::arrow_shared)
    _mla_lib(ArrowDataset::arrow_dataset_shared arrow_dataset "ArrowAcero::arrow_acero_shared;Parquet::parquet_shared")
    _mla_lib(ArrowS3::arrow_s3_shared arrow_s3 Arrow::arrow_shared)
    if(TARGET Arrow::arrow_shared AND TARGET ArrowCompute::arrow_compute_shared AND TARGET Parquet::parquet_shared)
      set(_mla_ok TRUE)
      set(MillraceArrow_FROM_WHEEL TRUE)
      # older wheels hold S3 inside libarrow
      if(NOT TARGET ArrowS3::arrow_s3_shared)
        add_library(ArrowS3::arrow_s3_shared ALIAS Arrow::arrow_shared)
      endif()
    endif()
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceArrow REQUIRED_VARS _mla_ok MillraceArrow_VERSION VERSION_VAR MillraceArrow_VERSION
  REASON_FAILURE_MESSAGE "install Arrow C++ or set MILLRACE_ARROW_ROOT to an unpacked pyarrow wheel (dev/setup)")
