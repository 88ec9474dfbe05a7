# cmake --install: the binary, static libraries, headers, recipes, and a CMake package with the targets tradewind::<floor>.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

foreach(floor kernels runtime models launcher flags)
  set_target_properties(tradewind_${floor} PROPERTIES EXPORT_NAME ${floor})
  add_library(tradewind::${floor} ALIAS tradewind_${floor})
endforeach()
target_include_directories(tradewind_flags INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tradewind>)

install(TARGETS tradewind tradewind_flags tradewind_kernels tradewind_runtime tradewind_models tradewind_launcher
        EXPORT tradewindTargets)
# Includes are rooted at the repository, so the floors keep their folders under include/tradewind.
install(DIRECTORY kernels runtime models launcher DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tradewind
        FILES_MATCHING PATTERN "*.h" PATTERN "cpu" EXCLUDE PATTERN "cuda" EXCLUDE)
set(TRADEWIND_CONFIGS ${CMAKE_INSTALL_DATADIR}/tradewind/configs)
install(DIRECTORY configs/ DESTINATION ${TRADEWIND_CONFIGS})
# The manual page and the completions are printed by the program that is installed, so that they say what it can do.
set(printed ${PROJECT_BINARY_DIR}/printed)
install(CODE "
  file(MAKE_DIRECTORY \"${printed}\")
  foreach(what \"help --man>tradewind.1\" \"completion bash>tradewind\" \"completion zsh>_tradewind\" \"completion fish>tradewind.fish\")
    string(REGEX MATCH \"^([^>]*)>(.*)\$\" ignored \"\${what}\")
    string(REPLACE \" \" \";\" arguments \"\${CMAKE_MATCH_1}\")
    execute_process(COMMAND \"$<TARGET_FILE:tradewind>\" \${arguments} OUTPUT_FILE \"${printed}/\${CMAKE_MATCH_2}\" RESULT_VARIABLE code)
    if(NOT code EQUAL 0)
      message(FATAL_ERROR \"tradewind \${CMAKE_MATCH_1} ended with \${code}\")
    endif()
  endforeach()")
install(FILES ${printed}/tradewind.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${printed}/tradewind DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${printed}/_tradewind DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${printed}/tradewind.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/tradewind)
install(EXPORT tradewindTargets NAMESPACE tradewind:: DESTINATION ${package})
configure_package_config_file(cmake/tradewindConfig.cmake.in ${PROJECT_BINARY_DIR}/tradewindConfig.cmake
  INSTALL_DESTINATION ${package} PATH_VARS TRADEWIND_CONFIGS)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tradewindConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tradewindConfig.cmake ${PROJECT_BINARY_DIR}/tradewindConfigVersion.cmake
        DESTINATION ${package})
