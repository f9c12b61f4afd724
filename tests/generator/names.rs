//! The words of the histories: names of many scripts with the form they take in an e-mail address, teams, titles and systems.

/// A name, and the form it takes in an e-mail address.
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) &'static str, pub(super) &'static str);

/// A team.
pub(super) struct Department {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    /// From the first grade up.
    pub(super) titles: &'static [&'static str],
}

/// Something that people ask access to.
#[derive(Clone, Copy)]
pub(super) struct Resource {
    pub(super) app: &'static str,
    pub(super) label: &'static str,
    pub(super) permission: &'static str,
    pub(super) permission_label: &'static str,
}

pub(super) const GIVEN: &[Name] = &[
    Name("Zoë", "zoe"),
    Name("Łukasz", "lukasz"),
    Name("María José", "maria.jose"),
    Name("Jürgen", "jurgen"),
    Name("Siobhán", "siobhan"),
    Name("Nguyệt", "nguyet"),
    Name("娜", "na"),
    Name("さくら", "sakura"),
    Name("민준", "minjun"),
    Name("Сергей", "sergei"),
    Name("Олена", "olena"),
    Name("Αλέξανδρος", "alexandros"),
    Name("محمد", "mohammed"),
    Name("שירה", "shira"),
    Name("अनन्या", "ananya"),
    Name("Oluwaseun", "oluwaseun"),
    Name("Þóra", "thora"),
    Name("Chloé", "chloe"),
    Name("João", "joao"),
    Name("İpek", "ipek"),
    Name("Anne-Sophie", "anne-sophie"),
    Name("Jane", "jane"),
    Name("Kwame", "kwame"),
    Name("Priya", "priya"),
    Name("Mateus", "mateus"),
    Name("Aoife", "aoife"),
    Name("Håkon", "hakon"),
    Name("Li", "li"),
    Name("Fatou", "fatou"),
    Name("Ionuț", "ionut"),
];

pub(super) const FAMILY: &[Name] = &[
    Name("O’Brien", "obrien"),
    Name("Nguyễn", "nguyen"),
    Name("García Márquez", "garcia"),
    Name("Müller", "mueller"),
    Name("Kowalska-Żak", "kowalska"),
    Name("李", "li"),
    Name("山田", "yamada"),
    Name("김", "kim"),
    Name("Иванова", "ivanova"),
    Name("Шевченко", "shevchenko"),
    Name("Παπαδόπουλος", "papadopoulos"),
    Name("الخطيب", "alkhatib"),
    Name("כהן", "cohen"),
    Name("शर्मा", "sharma"),
    Name("Adébáyọ̀", "adebayo"),
    Name("Guðmundsdóttir", "gudmundsdottir"),
    Name("D'Angelo", "dangelo"),
    Name("van der Meer", "vandermeer"),
    Name("Åström", "astrom"),
    Name("Yılmaz", "yilmaz"),
    Name("Smith", "smith"),
    Name("Mensah", "mensah"),
    Name("Silva e Souza", "silva"),
    Name("Đorđević", "djordjevic"),
    Name("Null", "null"),
    Name("Ngũgĩ", "ngugi"),
    Name("Ruiz \"Rui\" Paz", "ruiz"),
    Name("Novák", "novak"),
    Name("Diallo", "diallo"),
    Name("de la Cruz", "delacruz"),
];

pub(super) const DEPARTMENTS: &[Department] = &[
    Department {
        id: "engineering",
        label: "Engineering",
        titles: &["Engineer", "Senior Engineer", "Staff Engineer", "Engineering Manager"],
    },
    Department { id: "finance", label: "Finance", titles: &["Accountant", "Controller", "Head of Finance"] },
    Department { id: "people", label: "People & Culture", titles: &["People Partner", "Senior People Partner", "Head of People"] },
    Department {
        id: "sales-dach",
        label: "Vertrieb DACH",
        titles: &["Account Executive", "Key Account Manager", "Regional Director"],
    },
    Department { id: "support", label: "Support – 24/7", titles: &["Support Agent", "Support Engineer", "Support Lead"] },
    Department { id: "legal", label: "Legal", titles: &["Paralegal", "Counsel", "General Counsel"] },
    Department { id: "rnd", label: "R&D \"Skunkworks\"", titles: &["Researcher", "Senior Researcher", "Principal Researcher"] },
    Department { id: "design", label: "Design", titles: &["Designer", "Senior Designer", "Design Director"] },
];

pub(super) const SYSTEMS: &[Resource] = &[
    Resource { app: "github", label: "GitHub", permission: "prm_repo_write", permission_label: "Write to repositories" },
    Resource { app: "aws-prod", label: "AWS production", permission: "prm_readonly", permission_label: "ReadOnlyAccess" },
    Resource { app: "aws-prod", label: "AWS production", permission: "prm_admin", permission_label: "AdministratorAccess" },
    Resource { app: "erp", label: "ERP", permission: "prm_ledger_post", permission_label: "Post to the ledger" },
    Resource { app: "crm", label: "CRM", permission: "prm_pipeline", permission_label: "Pipeline: edit" },
    Resource { app: "hris", label: "HRIS", permission: "prm_payroll_view", permission_label: "Payroll: view" },
    Resource {
        app: "impersonator",
        label: "Customer impersonation",
        permission: "prm_impersonate",
        permission_label: "Impersonate",
    },
    Resource { app: "figma", label: "Figma", permission: "prm_editor", permission_label: "Editor" },
    Resource { app: "warehouse", label: "Data warehouse", permission: "prm_pii_read", permission_label: "Read personal data" },
    Resource { app: "vpn", label: "VPN", permission: "prm_full_tunnel", permission_label: "Full tunnel" },
];
