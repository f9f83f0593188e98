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
  # The binary itself writes what it knows best: `wick <arguments>` -> a file in its place.
  function(install_written_by_wick arguments directory name)
    set(written "${PROJECT_BINARY_DIR}/written-by-wick/${directory}/${name}")
    install(CODE "
      get_filename_component(directory \"${written}\" DIRECTORY)
      file(MAKE_DIRECTORY \"\${directory}\")
      execute_process(COMMAND \"$<TARGET_FILE:wick-bin>\" ${arguments} OUTPUT_FILE \"${written}\"
                      COMMAND_ERROR_IS_FATAL ANY)")
    install(FILES "${written}" DESTINATION "${directory}")
  endfunction()
  install_written_by_wick("man-page" "${CMAKE_INSTALL_MANDIR}/man1" wick.1)
  install_written_by_wick("completion bash" "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" wick)
  install_written_by_wick("completion zsh" "${CMAKE_INSTALL_DATADIR}/zsh/site-functions" _wick)
  install_written_by_wick("completion fish" "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d" wick.fish)
endif()
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
