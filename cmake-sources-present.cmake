# While the skeleton fills up: adds those of the listed sources that exist. Goes away when all do.
function(tradewind_sources target)
  foreach(source IN LISTS ARGN)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
      target_sources(${target} PRIVATE ${source})
    endif()
  endforeach()
endfunction()
