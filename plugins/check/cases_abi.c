/* cases_abi.c - the shared object and its table */
#include "kit.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t ALL_CAPS = OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_SERVER_COPY |
                                 OBV_CAP_OBSERVER_READS | OBV_CAP_FORGETS;

static void loads(struct kit *k)
{
    char why[KIT_TEXT_MAX];
    need(kit_load(k->cfg->so, why, sizeof why), "%s", why);
}

/* The linker's own names, which some linkers export with everything else. */
static bool is_linkers(const char *name)
{
    static const char *const NAMES[] = {"_init", "_fini", "__bss_start", "_edata", "_end"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(name, NAMES[i]) == 0)
            return true;
    return false;
}

static bool inside(uint64_t at, uint64_t len, uint64_t size) { return at <= size && len <= size - at; }

static void judge_symbols(const uint8_t *file, uint64_t size, const Elf64_Shdr *sym, const Elf64_Shdr *str)
{
    need(inside(sym->sh_offset, sym->sh_size, size) && inside(str->sh_offset, str->sh_size, size) && str->sh_size > 0 &&
             file[str->sh_offset + str->sh_size - 1] == '\0',
         "the symbol table of the file is damaged");
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= sym->sh_size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym s;
        memcpy(&s, file + sym->sh_offset + at, sizeof s);
        if (s.st_shndx == SHN_UNDEF || ELF64_ST_BIND(s.st_info) == STB_LOCAL || s.st_name >= str->sh_size)
            continue;
        const char *name = (const char *)file + str->sh_offset + s.st_name;
        need(strcmp(name, OBV_STORAGE_SYMBOL) == 0 || is_linkers(name), "it also exports %.100s", name);
    }
}

static void exports(struct kit *k)
{
    struct stat st;
    const int fd = open(k->cfg->so, O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && fstat(fd, &st) == 0, "the file cannot be opened");
    const uint64_t size = (uint64_t)st.st_size;
    const uint8_t *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    need(file != MAP_FAILED, "the file cannot be read");
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)file;
    if (size < sizeof *h || memcmp(file, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_shentsize != sizeof(Elf64_Shdr) || !inside(h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr), size))
        kit_skip("no ELF64 file with sections");
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(file + h->e_shoff);
    for (unsigned i = 0; i < h->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM || sections[i].sh_link >= h->e_shnum)
            continue;
        judge_symbols(file, size, &sections[i], &sections[sections[i].sh_link]);
        return;
    }
    kit_skip("the file has no section of dynamic symbols");
}

static void needs_nothing_of_ours(struct kit *k)
{
    (void)k;
    /* what the kit exports to watch system calls is libc's; nothing else of the program can be asked for */
    void *lib = dlopen(k->cfg->so, RTLD_NOW | RTLD_LOCAL);
    need(lib, "not every symbol it needs is there: %.300s", dlerror());
}

static void table(struct kit *k)
{
    const obv_storage_plugin *p = k->p;
    const obv_storage_plugin *(*entry)(void) = NULL;
    void *lib = dlopen(k->cfg->so, RTLD_NOW | RTLD_LOCAL);
    *(void **)&entry = dlsym(lib, OBV_STORAGE_SYMBOL);
    need(entry() == p, "%s() returns another table each time", OBV_STORAGE_SYMBOL);
    need(p->name && p->name[0] && strlen(p->name) < 64, "it has no name, or one of 64 bytes or more");
    need(p->version && p->version[0] && strlen(p->version) < 64, "it has no version, or one of 64 bytes or more");
    need(p->threads == OBV_THREADS_SERIAL || p->threads == OBV_THREADS_PARALLEL, "threads is %u", p->threads);
    need((p->caps & ~ALL_CAPS) == 0, "caps has bits that this ABI does not know: 0x%x", p->caps & ~ALL_CAPS);
    need(!(p->caps & OBV_CAP_FORGETS) || (p->caps & ~(uint32_t)(OBV_CAP_FORGETS | OBV_CAP_APPEND)) == 0,
         "it keeps nothing (OBV_CAP_FORGETS) but claims more than append");
}

static void functions(struct kit *k)
{
    const obv_storage_plugin *p = k->p;
    const struct {
        const char *name;
        bool there;
    } WANTED[] = {
        {"open", p->open != NULL},
        {"close", p->close != NULL},
        {"probe", p->probe != NULL},
        {"put_begin", p->put_begin != NULL},
        {"put_write", p->put_write != NULL},
        {"put_commit", p->put_commit != NULL},
        {"put_abort", p->put_abort != NULL},
        {"get", p->get != NULL},
        {"head", p->head != NULL},
        {"list", p->list != NULL},
        {"remove", p->remove != NULL},
        {"sweep", p->sweep != NULL},
        {"append, although it claims the capability", p->append || !(p->caps & OBV_CAP_APPEND)},
        {"sync, although it claims the capability", p->sync || !(p->caps & OBV_CAP_APPEND)},
        {"copy, although it claims the capability", p->copy || !(p->caps & OBV_CAP_SERVER_COPY)},
    };
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++)
        need(WANTED[i].there, "it has no %s", WANTED[i].name);
}

static void options(struct kit *k)
{
    const obv_storage_plugin *p = k->p;
    need(p->options || p->option_count == 0, "option_count is %u but options is NULL", p->option_count);
    need(p->option_count <= KIT_OPTIONS_MAX, "%u options: the kit reads %d", p->option_count, KIT_OPTIONS_MAX);
    for (uint32_t i = 0; i < p->option_count; i++) {
        const obv_option *o = &p->options[i];
        need(o->name && o->name[0] && strlen(o->name) < 64, "option %u has no name, or one of 64 bytes or more", i);
        need(o->kind <= OBV_OPTION_PLUGIN, "option %s is of kind %u", o->name, o->kind);
        need((o->flags & ~(uint32_t)OBV_OPTION_REQUIRED) == 0, "option %s has flags 0x%x", o->name, o->flags);
        need(o->fallback && o->doc && o->doc[0], "option %s has no fallback or no doc", o->name);
        for (uint32_t j = 0; j < i; j++)
            need(strcmp(p->options[j].name, o->name) != 0, "option %s is declared twice", o->name);
    }
}

static const struct kit_case CASES[] = {
    {"abi.loads", "It exports obv_storage_plugin_v0, whose table has the kit's ABI version and at least its size.", 0,
     KIT_NO_TABLE | KIT_FORGETFUL, loads},
    {"abi.exports", "A plugin exports one symbol.", 0, KIT_NO_TABLE | KIT_FORGETFUL, exports},
    {"abi.links", "A plugin links nothing of obvault: every symbol it needs is in its own libraries.", 0,
     KIT_NO_TABLE | KIT_FORGETFUL, needs_nothing_of_ours},
    {"abi.table", "The table is constant, has a name and a version, a known thread model and known capabilities.", 0,
     KIT_NO_OPEN | KIT_FORGETFUL, table},
    {"abi.functions", "Required functions are there; optional ones may be NULL when the capability is absent.", 0,
     KIT_NO_OPEN | KIT_FORGETFUL, functions},
    {"abi.options", "Options are declared with name, kind, default and one sentence, each once.", 0,
     KIT_NO_OPEN | KIT_FORGETFUL, options},
};
const struct kit_group KIT_ABI = KIT_GROUP(CASES);
