# `cmake --install`: the library with its headers and CMake package, the binary, its manual page and completions.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/wick")
install(TARGETS wick EXPORT wickTargets)
install(EXPORT wickTargets NAMESPACE wick:: DESTINATION "${package_dir}")
install(DIRECTORY include/wick DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")

configure_package_config_file(cmake/wickConfig.cmake.in "${PROJECT_BINARY_DIR}/wickConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/wickConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/wickConfig.cmake" "${PROJECT_BINARY_DIR}/wickConfigVersion.cmake"
              cmake/WickDependencies.cmake DESTINATION "${package_dir}")

if(TARGET wick-bin)
  install(TARGETS wick-bin)
endif()
file(GLOB pages docs/man/*.1)
install(FILES ${pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
# Each shell looks for completions of `wick` in a place and under a name of its own.
foreach(completion "wick.bash|bash-completion/completions|wick" "wick.zsh|zsh/site-functions|_wick"
                   "wick.fish|fish/vendor_completions.d|wick.fish")
  string(REPLACE "|" ";" completion "${completion}")
  list(GET completion 0 source)
  list(GET completion 1 directory)
  list(GET completion 2 name)
  if(EXISTS "${PROJECT_SOURCE_DIR}/completions/${source}")
    install(FILES "completions/${source}" DESTINATION "${CMAKE_INSTALL_DATADIR}/${directory}" RENAME "${name}")
  endif()
endforeach()
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
